public import SparseAttention
public import Transformers
import Compute

/// Which pairs of queries and keys a prefill computes.
public struct AttentionOptions: Sendable, Hashable {
  public enum Mode: String, Sendable, CaseIterable { case minference, dense }
  public var mode: Mode
  public init(mode: Mode = .minference) { self.mode = mode }
}
extension LanguageModel {
  func planner(for options: AttentionOptions) throws -> AttentionPlanner? { nil }
  static func findPatterns(given: String?, directory: String, of t: Transformer) throws -> (
    patterns: Int?, notices: [String]
  ) { (nil, []) }
}
