/// The element types of weights that are read here.
public enum ElementType: String, Sendable, Hashable, CaseIterable {
  /// IEEE 754 binary32.
  case float32 = "F32"
  /// IEEE 754 binary16.
  case float16 = "F16"
  /// The upper half of a binary32.
  case bfloat16 = "BF16"

  /// Bytes of one element.
  public var byteCount: Int { self == .float32 ? 4 : 2 }
}

/// An element type as safetensors spells it, the ones that are not read included, so that the bytes
/// of every tensor of a file can be checked.
///
/// Source: https://github.com/huggingface/safetensors, `Dtype`.
package enum StoredType {
  /// Bits of one element for each spelling.
  private static let bitCounts: [String: Int] = [
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8,
    "F8_E5M2FNUZ": 8, "F8_E4M3FNUZ": 8, "F8_E8M0": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64, "C64": 64,
  ]

  /// Bits of one element, nil for a spelling that safetensors does not have.
  package static func bitCount(of name: String) -> Int? { bitCounts[name] }
}
