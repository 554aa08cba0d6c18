/// The number formats in which tensors are stored.
///
/// Arithmetic is always done in float32 or better; narrower types are storage only.
public enum DataType: String, Sendable, Hashable, CaseIterable {
  case float32
  case float16
  case bfloat16
  /// Eight bits, four of them exponent (e4m3, no infinity); keys and values only, with a scale.
  case float8
  case int32

  /// Bytes that one element takes.
  public var byteCount: Int {
    switch self {
    case .float32, .int32: 4
    case .float16, .bfloat16: 2
    case .float8: 1
    }
  }
}
