/// One comparison of a whole model with its reference.
public struct ModelCheck: Sendable {
  /// What was done: "whole prompt", "token by token, kv float8 on host".
  public let name: String
  /// Positions whose logits were compared.
  public let positions: Int
  public let error: LogitError
  public let tolerance: LogitTolerance
  /// What else there is to say: how sparse it was, where answers part, what went wrong.
  public let note: String

  public var passed: Bool { tolerance.allows(error) }
}

/// All comparisons of a model.
public struct ModelVerification: Sendable {
  /// What the device was compared with.
  public let reference: String
  /// Where the tolerances come from.
  public let toleranceSource: String
  public internal(set) var checks: [ModelCheck] = []

  public var passed: Bool { !checks.isEmpty && checks.allSatisfy(\.passed) }
}
