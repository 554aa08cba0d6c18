import TextReports
import CSystemCalls
import JSON
import MInference

/// The figures at the end of an answer, as a line and as JSON.
struct GenerationFigures {
  let metrics: GenerationMetrics
  let mode: String
  let peakMemory = Int(csystem_peak_memory_bytes())

  init(_ metrics: GenerationMetrics, attention: AttentionArguments) {
    self.metrics = metrics
    mode = attention.attention.rawValue
  }

  /// "32,768 prompt tokens, first token after 15.2 s (...)".
  var line: String {
    let reused = metrics.prefill?.reusedTokens ?? 0
    var parts = [
      "\(Quantity.grouped(metrics.promptTokens)) prompt tokens"
        + (reused > 0 ? " behind \(Quantity.grouped(reused)) reused" : ""),
      "first token after \(Quantity.seconds(metrics.timeToFirstToken))",
      "prefill \(Quantity.grouped(Int(metrics.prefillTokensPerSecond))) tokens/s",
      "\(mode) density \(Quantity.percent(metrics.prefill?.density ?? 1))",
    ]
    if let recall = metrics.prefill?.monitor?.recall {
      parts.append("recall about \(Quantity.fixed(recall.mean, 3))")
    }
    if let rate = metrics.decodeTokensPerSecond {
      parts.append("decode \(Quantity.fixed(rate, 1)) tokens/s")
    }
    if peakMemory > 0 { parts.append("peak memory \(Quantity.bytes(peakMemory))") }
    return parts.joined(separator: ", ")
  }

  /// - Parameter reasoning: What the model thought before; empty: there is no such member.
  func json(text: String, reasoning: String) -> JSONValue {
    let thought = reasoning.isEmpty ? [] : [("reasoning", JSONValue.string(reasoning))]
    return .object(
      [
        ("text", .string(text))
      ] + thought + [
        ("prompt_tokens", .integer(metrics.promptTokens)),
        ("reused_tokens", .integer(metrics.prefill?.reusedTokens ?? 0)),
        ("completion_tokens", .integer(metrics.completionTokens)),
        ("finish_reason", .string(finishReason)),
        ("time_to_first_token_s", .number(metrics.timeToFirstToken)),
        ("prefill_s", .number(metrics.prefillSeconds)),
        ("prefill_tokens_per_s", .number(metrics.prefillTokensPerSecond)),
        ("decode_tokens_per_s", metrics.decodeTokensPerSecond.map { .number($0) } ?? .null),
        ("peak_memory_bytes", .integer(peakMemory)),
        ("attention", attention),
      ])
  }

  private var attention: JSONValue {
    let report = metrics.prefill
    var members: [(String, JSONValue)] = [
      ("mode", .string(mode)),
      ("density", .number(report?.density ?? 1)),
      ("index_s", .number(report?.indexSeconds ?? 0)),
      ("kernel_s", .number(report?.kernelSeconds ?? 0)),
      ("chunks", .integer(report?.chunks ?? 0)),
      ("dense_fallbacks", .integer(report?.denseFallbacks.count ?? 0)),
    ]
    if let monitor = report?.monitor { members.append(("monitor", MonitorText.json(monitor))) }
    return .object(members)
  }

  private var finishReason: String {
    switch metrics.finish {
    case .endOfText: "stop"
    case .stopString: "stop_string"
    case .contextFull: "context_full"
    case .length, nil: "length"
    }
  }
}
