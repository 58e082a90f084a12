// libnvcuvid.so.1: sessions with their surfaces and their limits.
#include <ffnvcodec/dynlink_cuda.h>
#include <ffnvcodec/dynlink_cuviddec.h>

#include <cstring>
#include <memory>
#include <vector>

#include "tests/support/fakedriver/fake_driver.h"

namespace {

constexpr auto kOk = CUDA_SUCCESS;
constexpr auto kInvalid = static_cast<CUresult>(1);
constexpr auto kMapFailed = static_cast<CUresult>(205);
constexpr auto kUnsupported = static_cast<CUresult>(801);
constexpr unsigned kSmallest = 48, kLargest = 4096;

struct Session {
  CUVIDDECODECREATEINFO info{};
  std::size_t pitch = 0, bytes = 0;
  std::int64_t counted = 0;
  std::vector<void*> outputs;
  std::vector<bool> mapped;
  std::vector<std::uint8_t> number;  // of the picture in each surface
  unsigned pictures = 0;

  ~Session() {
    for (void* output : outputs) static_cast<void>(fakedriver_free(output));
    if (counted > 0) static_cast<void>(fakedriver_charge(-counted));
  }
};

}  // namespace

extern "C" {

CUresult cuvidGetDecoderCaps(CUVIDDECODECAPS* caps) {
  caps->bIsSupported =
      caps->eChromaFormat == cudaVideoChromaFormat_420 && caps->nBitDepthMinus8 <= 2 ? 1 : 0;
  caps->nNumNVDECs = 7;
  caps->nOutputFormatMask = 3;
  caps->nMaxWidth = caps->nMaxHeight = kLargest;
  caps->nMaxMBCount = kLargest / 16 * (kLargest / 16);
  caps->nMinWidth = caps->nMinHeight = kSmallest;
  return kOk;
}

CUresult cuvidCreateDecoder(CUvideodecoder* made, CUVIDDECODECREATEINFO* info) {
  if (const int code = fakedriver_take_session(); code != 0) return static_cast<CUresult>(code);
  auto session = std::make_unique<Session>();
  const auto refused = [](int code) {
    fakedriver_end_session();
    return static_cast<CUresult>(code);
  };
  session->info = *info;
  session->pitch = (info->ulTargetWidth * (info->bitDepthMinus8 > 0 ? 2 : 1) + 511) / 512 * 512;
  session->bytes = session->pitch * info->ulTargetHeight * 3 / 2;
  const auto decode = static_cast<std::int64_t>(info->ulNumDecodeSurfaces * session->bytes);
  if (const int code = fakedriver_charge(decode); code != 0) return refused(code);
  session->counted = decode;
  for (unsigned i = 0; i < info->ulNumOutputSurfaces; ++i) {
    void* output = nullptr;
    if (const int code = fakedriver_allocate(session->bytes, &output); code != 0)
      return refused(code);
    session->outputs.push_back(output);
  }
  session->mapped.resize(session->outputs.size());
  session->number.resize(info->ulNumDecodeSurfaces);
  *made = session.release();
  return kOk;
}

CUresult cuvidDestroyDecoder(CUvideodecoder handle) {
  delete static_cast<Session*>(handle);
  fakedriver_end_session();
  return kOk;
}

CUresult cuvidDecodePicture(CUvideodecoder handle, CUVIDPICPARAMS* picture) {
  auto& session = *static_cast<Session*>(handle);
  const auto surface = static_cast<std::size_t>(picture->CurrPicIdx);
  if (surface >= session.number.size()) return kInvalid;
  session.number[surface] = static_cast<std::uint8_t>(session.pictures++);
  return kOk;
}

CUresult cuvidMapVideoFrame64(CUvideodecoder handle, int surface, unsigned long long* address,
                              unsigned* pitch, CUVIDPROCPARAMS*) {
  auto& session = *static_cast<Session*>(handle);
  for (std::size_t i = 0; i < session.outputs.size(); ++i) {
    if (session.mapped[i]) continue;
    session.mapped[i] = true;
    const std::size_t luma = session.pitch * session.info.ulTargetHeight;
    auto* output = static_cast<std::byte*>(session.outputs[i]);
    std::memset(output, session.number[static_cast<std::size_t>(surface)], luma);
    std::memset(output + luma, 128, session.bytes - luma);
    *address = reinterpret_cast<unsigned long long>(output);
    *pitch = static_cast<unsigned>(session.pitch);
    return kOk;
  }
  return kMapFailed;
}

CUresult cuvidUnmapVideoFrame64(CUvideodecoder handle, unsigned long long address) {
  auto& session = *static_cast<Session*>(handle);
  for (std::size_t i = 0; i < session.outputs.size(); ++i) {
    if (reinterpret_cast<unsigned long long>(session.outputs[i]) != address) continue;
    // A frame that is read after it was given back shows.
    std::memset(session.outputs[i], 0xEE, session.bytes);
    session.mapped[i] = false;
    return kOk;
  }
  return kInvalid;
}

// What FFmpeg looks for before it starts, and nobody calls here.
#define FAKE_MISSING(name) \
  CUresult name() { return kUnsupported; }
FAKE_MISSING(cuvidCreateVideoParser)
FAKE_MISSING(cuvidCreateVideoSource)
FAKE_MISSING(cuvidCreateVideoSourceW)
FAKE_MISSING(cuvidCtxLock)
FAKE_MISSING(cuvidCtxLockCreate)
FAKE_MISSING(cuvidCtxLockDestroy)
FAKE_MISSING(cuvidCtxUnlock)
FAKE_MISSING(cuvidDestroyVideoParser)
FAKE_MISSING(cuvidDestroyVideoSource)
FAKE_MISSING(cuvidGetDecodeStatus)
FAKE_MISSING(cuvidGetSourceAudioFormat)
FAKE_MISSING(cuvidGetSourceVideoFormat)
FAKE_MISSING(cuvidGetVideoSourceState)
FAKE_MISSING(cuvidMapVideoFrame)
FAKE_MISSING(cuvidParseVideoData)
FAKE_MISSING(cuvidReconfigureDecoder)
FAKE_MISSING(cuvidSetVideoSourceState)
FAKE_MISSING(cuvidUnmapVideoFrame)

}  // extern "C"
