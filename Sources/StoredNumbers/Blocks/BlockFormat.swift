/// The formats in which GGUF files store matrices as blocks of integers with scales.
///
/// A row of a matrix is a whole number of blocks; a block never spans two rows. The raw value is the
/// name that files and tools give the format. ``decoded(_:)`` defines what the bytes mean.
///
/// Source of sizes and layouts: ggml, `ggml/src/ggml-common.h`; the Python package `gguf`,
/// `quants.py`.
public enum BlockFormat: String, Sendable, Hashable, CaseIterable {
  /// 4 bits, a scale.
  case q40 = "Q4_0"
  /// 4 bits, a scale and an offset.
  case q41 = "Q4_1"
  /// 5 bits, a scale.
  case q50 = "Q5_0"
  /// 5 bits, a scale and an offset.
  case q51 = "Q5_1"
  /// 8 bits, a scale.
  case q80 = "Q8_0"
  /// 2 bits, 16 sub-blocks with a 4-bit scale and offset each.
  case q2K = "Q2_K"
  /// 3 bits, 16 sub-blocks with a 6-bit scale each.
  case q3K = "Q3_K"
  /// 4 bits, 8 sub-blocks with a 6-bit scale and offset each.
  case q4K = "Q4_K"
  /// 5 bits, 8 sub-blocks with a 6-bit scale and offset each.
  case q5K = "Q5_K"
  /// 6 bits, 16 sub-blocks with an 8-bit scale each.
  case q6K = "Q6_K"
  /// 4-bit indices of 16 unevenly spaced values, a scale.
  case iq4NL = "IQ4_NL"
  /// 4-bit indices of the same values, 8 sub-blocks with a 6-bit scale each.
  case iq4XS = "IQ4_XS"
  /// Microscaling: floats of 4 bits (E2M1) with a power of two as the scale (E8M0).
  case mxfp4 = "MXFP4"

  /// Elements of one block.
  public var elementsPerBlock: Int {
    switch self {
    case .q40, .q41, .q50, .q51, .q80, .iq4NL, .mxfp4: 32
    case .q2K, .q3K, .q4K, .q5K, .q6K, .iq4XS: 256
    }
  }

  /// Bytes of one block.
  public var bytesPerBlock: Int {
    switch self {
    case .q40, .iq4NL: 18
    case .q41: 20
    case .q50: 22
    case .q51: 24
    case .q80: 34
    case .q2K: 84
    case .q3K: 110
    case .q4K: 144
    case .q5K: 176
    case .q6K: 210
    case .iq4XS: 136
    case .mxfp4: 17
    }
  }

  /// Bits that one element takes, scales included.
  public var bitsPerElement: Double {
    Double(8 * bytesPerBlock) / Double(elementsPerBlock)
  }

  /// Bytes of a row of so many elements; nil where they are no whole number of blocks.
  public func rowByteCount(_ elements: Int) -> Int? {
    guard elements >= 0, elements % elementsPerBlock == 0 else { return nil }
    let (bytes, overflow) = (elements / elementsPerBlock).multipliedReportingOverflow(
      by: bytesPerBlock)
    return overflow ? nil : bytes
  }
}

extension BlockFormat {
  /// The elements of one block, in order: the definition that every faster decoder is held to.
  ///
  /// Arithmetic is in double precision and nothing is rounded.
  ///
  /// - Parameter block: ``bytesPerBlock`` bytes.
  /// - Returns: ``elementsPerBlock`` numbers. Where a scale is NaN or infinite they are not finite.
  public func decoded(_ block: UnsafeRawBufferPointer) -> [Double] {
    precondition(block.count == bytesPerBlock)
    let bytes = BlockBytes(bytes: block)
    switch self {
    case .q40: return BlockDecoder.q40(bytes)
    case .q41: return BlockDecoder.q41(bytes)
    case .q50: return BlockDecoder.q50(bytes)
    case .q51: return BlockDecoder.q51(bytes)
    case .q80: return BlockDecoder.q80(bytes)
    case .iq4NL: return BlockDecoder.iq4NL(bytes)
    case .mxfp4: return BlockDecoder.mxfp4(bytes)
    case .q2K: return SuperBlockDecoder.q2K(bytes)
    case .q3K: return SuperBlockDecoder.q3K(bytes)
    case .q4K: return SuperBlockDecoder.q4K(bytes)
    case .q5K: return SuperBlockDecoder.q5K(bytes)
    case .q6K: return SuperBlockDecoder.q6K(bytes)
    case .iq4XS: return SuperBlockDecoder.iq4XS(bytes)
    }
  }

  /// The elements of consecutive blocks.
  ///
  /// - Parameter blocks: A multiple of ``bytesPerBlock`` bytes.
  public func decodedRow(_ blocks: UnsafeRawBufferPointer) -> [Double] {
    precondition(blocks.count % bytesPerBlock == 0)
    var elements: [Double] = []
    elements.reserveCapacity(blocks.count / bytesPerBlock * elementsPerBlock)
    for start in stride(from: 0, to: blocks.count, by: bytesPerBlock) {
      elements += decoded(
        UnsafeRawBufferPointer(rebasing: blocks[start..<start + bytesPerBlock]))
    }
    return elements
  }
}
