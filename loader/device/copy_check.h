#pragma once
// The rules of Stream::copy_rows, convert and collate, the same for every device.

#include "loader/device/address_ranges.h"
#include "loader/device/device.h"

namespace shardreel {

enum class CopyKind { kToDevice, kToHost, kInside };

/// Return the direction, or which rule is broken. `rows.rows` and `rows.row_bytes` are above 0.
Result<CopyKind> check_copy(const CopyRows& rows, const AddressRanges& device,
                            const AddressRanges& pinned);

/// Check that a conversion writes inside one block of the device.
Result<void> check_convert(const PixelJob& job, const AddressRanges& device);

/// Check that collating reads one block of the device and writes inside one.
Result<void> check_collate(const CollateJob& job, const AddressRanges& device);

}  // namespace shardreel
