import JSON
import MInference

/// The figures of an answer in the words of clients.
struct AnswerFigures {
  let end: OutputEnd

  private var summary: AnswerSummary { end.summary }

  /// OpenAI's.
  var usage: JSONValue {
    .object([
      ("prompt_tokens", .integer(summary.promptTokens)),
      ("completion_tokens", .integer(summary.completionTokens)),
      ("total_tokens", .integer(summary.promptTokens + summary.completionTokens)),
      (
        "prompt_tokens_details",
        .object([("cached_tokens", .integer(summary.cachedTokens))])
      ),
      (
        "completion_tokens_details",
        .object([("reasoning_tokens", .integer(end.reasoningTokens))])
      ),
    ])
  }

  /// llama.cpp's.
  var timings: JSONValue {
    let read = summary.promptTokens - summary.cachedTokens
    let promptMilliseconds = summary.prefillSeconds * 1000
    let decoded = max(0, summary.completionTokens - 1)
    let decodeMilliseconds = summary.decodeSeconds * 1000
    return .object([
      ("cache_n", .integer(summary.cachedTokens)),
      ("prompt_n", .integer(read)),
      ("prompt_ms", .number(Self.rounded(promptMilliseconds))),
      ("prompt_per_token_ms", .number(Self.rounded(promptMilliseconds / Double(max(1, read))))),
      (
        "prompt_per_second",
        .number(Self.rounded(promptMilliseconds > 0 ? Double(read) * 1000 / promptMilliseconds : 0))
      ),
      ("predicted_n", .integer(summary.completionTokens)),
      ("predicted_ms", .number(Self.rounded(decodeMilliseconds))),
      (
        "predicted_per_token_ms",
        .number(Self.rounded(decodeMilliseconds / Double(max(1, decoded))))
      ),
      (
        "predicted_per_second",
        .number(
          Self.rounded(decodeMilliseconds > 0 ? Double(decoded) * 1000 / decodeMilliseconds : 0))
      ),
      ("queue_ms", .number(Self.rounded(summary.queueSeconds * 1000))),
      (
        "time_to_first_token_ms",
        summary.timeToFirstToken.map { .number(Self.rounded($0 * 1000)) } ?? .null
      ),
    ])
  }

  /// Ours: which share of the pairs of queries and keys was computed, and which heads were computed
  /// densely although a sparse pattern was asked for.
  func attention(_ options: AttentionOptions) -> JSONValue {
    let report = summary.prefill
    var members: [(String, JSONValue)] = [
      ("mode", .string(options.mode.rawValue)),
      ("density", .number(report.density)),
      ("dense_fallbacks", .integer(report.denseFallbacks.count)),
    ]
    if let first = report.denseFallbacks.first {
      members.append(("dense_fallback_reason", .string(first.reason)))
    }
    if let recall = report.recall {
      members.append(("recall_mean", .number(recall.mean)))
    }
    if let monitor = report.monitor {
      members.append(("monitor_seconds", .number(monitor.seconds)))
    }
    if !summary.notices.isEmpty {
      members.append(("notices", .array(summary.notices.map { .string($0) })))
    }
    return .object(members)
  }

  /// llama.cpp's `prompt_progress`.
  static func json(_ progress: PromptProgress) -> JSONValue {
    .object([
      ("total", .integer(progress.total)), ("cache", .integer(progress.cached)),
      ("processed", .integer(progress.processed)),
      ("time_ms", .integer(Int(progress.seconds * 1000))),
    ])
  }

  private static func rounded(_ value: Double) -> Double { (value * 1000).rounded() / 1000 }
}
