import StoredNumbers

/// How a tensor of a GGUF file is stored, by the number that the file gives.
///
/// Source of numbers, names and sizes: the Python package `gguf`, `constants.py`; ggml, `ggml.h`.
package struct GGUFTensorType: Equatable, Sendable {
  package let name: String
  /// Elements and bytes of a block; for floats, of one element.
  package let elements: Int
  package let bytes: Int
  /// Nil: the size is known, the contents are not read here.
  package let format: TensorView.Format?

  /// Nil for a number that no type has, or whose type is gone.
  package init?(number: UInt32) {
    guard let entry = Self.types[number] else { return nil }
    self = entry
  }

  private init(_ block: BlockFormat) {
    name = block.rawValue
    elements = block.elementsPerBlock
    bytes = block.bytesPerBlock
    format = .blocks(block)
  }

  private init(_ element: ElementType) {
    name = element.rawValue
    elements = 1
    bytes = element.byteCount
    format = .dense(element)
  }

  private init(unread name: String, _ elements: Int, _ bytes: Int) {
    self.name = name
    self.elements = elements
    self.bytes = bytes
    format = nil
  }

  private static let types: [UInt32: GGUFTensorType] = [
    0: .init(.float32), 1: .init(.float16), 30: .init(.bfloat16),
    2: .init(.q40), 3: .init(.q41), 6: .init(.q50), 7: .init(.q51), 8: .init(.q80),
    10: .init(.q2K), 11: .init(.q3K), 12: .init(.q4K), 13: .init(.q5K), 14: .init(.q6K),
    20: .init(.iq4NL), 23: .init(.iq4XS), 39: .init(.mxfp4),
    15: .init(unread: "Q8_K", 256, 292), 16: .init(unread: "IQ2_XXS", 256, 66),
    17: .init(unread: "IQ2_XS", 256, 74), 18: .init(unread: "IQ3_XXS", 256, 98),
    19: .init(unread: "IQ1_S", 256, 50), 21: .init(unread: "IQ3_S", 256, 110),
    22: .init(unread: "IQ2_S", 256, 82), 24: .init(unread: "I8", 1, 1),
    25: .init(unread: "I16", 1, 2), 26: .init(unread: "I32", 1, 4),
    27: .init(unread: "I64", 1, 8), 28: .init(unread: "F64", 1, 8),
    29: .init(unread: "IQ1_M", 256, 56), 34: .init(unread: "TQ1_0", 256, 54),
    35: .init(unread: "TQ2_0", 256, 66), 40: .init(unread: "NVFP4", 64, 36),
    41: .init(unread: "Q1_0", 128, 18),
  ]

  /// Types that files of earlier years had, for messages.
  package static let removed: [UInt32: String] = [
    4: "Q4_2", 5: "Q4_3", 31: "Q4_0_4_4", 32: "Q4_0_4_8", 33: "Q4_0_8_8", 36: "IQ4_NL_4_4",
    37: "IQ4_NL_4_8", 38: "IQ4_NL_8_8",
  ]

  /// The names of the types that are read, for messages.
  package static let readNames: String =
    types.sorted { $0.key < $1.key }.filter { $0.value.format != nil }.map(\.value.name)
    .joined(separator: ", ")
}
