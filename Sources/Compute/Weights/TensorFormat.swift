public import StoredNumbers

/// How the elements of a stored matrix are laid out in bytes.
public enum TensorFormat: Sendable, Hashable, CustomStringConvertible {
  /// Every element by itself.
  case dense(DataType)
  /// Blocks of elements along a row, each with its scales.
  case blocks(BlockFormat)

  /// Bytes of a row of so many elements; nil where they are no whole number of blocks, or too many.
  public func rowByteCount(_ elements: Int) -> Int? {
    switch self {
    case .dense(let type):
      let (bytes, overflow) = elements.multipliedReportingOverflow(by: type.byteCount)
      return overflow || elements < 0 ? nil : bytes
    case .blocks(let format): return format.rowByteCount(elements)
    }
  }

  /// "bfloat16", "Q4_K"
  public var description: String {
    switch self {
    case .dense(let type): type.rawValue
    case .blocks(let format): format.rawValue
    }
  }
}
