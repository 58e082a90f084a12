// A hostile answer: reading it ends, nothing is read beyond it, and what it says does not depend on
// the pieces that it comes in.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "loader/read/http/http_answer_reader.h"

namespace {

using State = shardreel::HttpAnswerReader::State;

class Pieces final : public shardreel::HttpWire {
 public:
  Pieces(std::span<const std::uint8_t> bytes, std::size_t most, bool breaks)
      : bytes_(bytes), most_(most), breaks_(breaks) {}
  Got receive(std::span<std::byte> into) override {
    if (into.empty()) std::abort();
    if (bytes_.empty()) return {breaks_ ? HttpWire::State::kBroken : HttpWire::State::kClosed, 0};
    step_ = step_ * 5 + 3;
    if (most_ < 100 && step_ % 4 == 0) return {HttpWire::State::kNothing, 0};
    const std::size_t count = std::min({into.size(), bytes_.size(), 1 + step_ % most_});
    std::copy_n(reinterpret_cast<const std::byte*>(bytes_.data()), count, into.begin());
    bytes_ = bytes_.subspan(count);
    return {HttpWire::State::kBytes, count};
  }
  [[nodiscard]] std::string complaint() const override { return "broken"; }

 private:
  std::span<const std::uint8_t> bytes_;
  const std::size_t most_;
  const bool breaks_;
  std::uint32_t step_ = 1;
};

struct Said {
  State state = State::kHead;
  int status = 0;
  std::string body;
  bool operator==(const Said&) const = default;
};

Said read_all(std::span<const std::uint8_t> bytes, std::size_t most, std::size_t portion,
              bool breaks) {
  Pieces wire(bytes, most, breaks);
  shardreel::HttpAnswerReader reader(wire);
  Said said;
  std::size_t turns = 0;
  const std::size_t most_turns = 20 * bytes.size() + 100;
  while (reader.read_head() == State::kHead) {
    if (++turns > most_turns) std::abort();
  }
  std::string part(portion, '\0');
  while (reader.state() == State::kBody) {
    said.body.append(part, 0, reader.read(std::as_writable_bytes(std::span(part))));
    if (++turns > most_turns || said.body.size() > bytes.size()) std::abort();
  }
  said.state = reader.state();
  said.status = reader.head().status;
  if ((said.state == State::kFailed) == reader.failure().empty()) std::abort();
  return said;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const bool breaks = data[0] % 2 == 1;
  const std::size_t portion = 1 + data[0] / 2;
  const std::span<const std::uint8_t> bytes(data + 1, size - 1);
  const Said whole = read_all(bytes, std::size_t{1} << 20, 100'000, breaks);
  if (read_all(bytes, 1, portion, breaks) != whole) std::abort();
  if (read_all(bytes, 7, portion, breaks) != whole) std::abort();
  return 0;
}
