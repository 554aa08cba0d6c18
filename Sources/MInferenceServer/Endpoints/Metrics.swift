import Hummingbird
import MInference

/// GET /metrics, in Prometheus' text format: what the engines' snapshots say, and what was recorded by
/// swift-metrics.
///
/// Names of the former are llama.cpp's and vLLM's where these mean the same; they have the label `model_name`.
struct Metrics: Sendable {
  let server: ServerState

  func respond() -> Response {
    Response(text: text(), type: "text/plain; version=0.0.4; charset=utf-8")
  }

  func text() -> String {
    let models = server.models.all.map { ($0.name, $0.engine.currentMetrics) }
    var lines = ""
    func add(
      _ name: String, _ kind: String, _ help: String, _ value: (EngineMetrics) -> Double
    ) {
      lines += "# HELP \(name) \(help)\n# TYPE \(name) \(kind)\n"
      for (model, metrics) in models {
        lines += "\(name){\(Self.label(model))} \(Self.number(value(metrics)))\n"
      }
    }
    add("llamacpp:prompt_tokens_total", "counter", "Tokens of prompts that were computed.") {
      Double($0.computedTokens)
    }
    add("llamacpp:prompt_seconds_total", "counter", "Seconds in which prompts were read.") {
      $0.prefillSeconds
    }
    add("llamacpp:prompt_tokens_seconds", "gauge", "Tokens of prompts read in a second, so far.") {
      $0.prefillSeconds > 0 ? Double($0.computedTokens) / $0.prefillSeconds : 0
    }
    add("llamacpp:tokens_predicted_total", "counter", "Tokens of answers.") {
      Double($0.completionTokens)
    }
    add("llamacpp:tokens_predicted_seconds_total", "counter", "Seconds of decoding.") {
      $0.decodeSeconds
    }
    add("llamacpp:predicted_tokens_seconds", "gauge", "Tokens decoded in a second, so far.") {
      $0.decodeSeconds > 0 ? Double($0.completionTokens) / $0.decodeSeconds : 0
    }
    add("llamacpp:requests_processing", "gauge", "Requests that are read or answered.") {
      Double($0.running)
    }
    add("llamacpp:requests_deferred", "gauge", "Requests that wait.") { Double($0.waiting) }
    add("llamacpp:n_tokens_max", "counter", "The longest sequence so far, in tokens.") {
      Double($0.longestSequence)
    }
    add("llamacpp:n_decode_total", "counter", "Rounds of decoding.") { Double($0.decodeRounds) }
    add(
      "llamacpp:n_busy_slots_per_decode", "counter", "Sequences of a round of decoding, on average."
    ) { $0.decodeRounds > 0 ? Double($0.decodedTokens) / Double($0.decodeRounds) : 0 }
    add("vllm:num_requests_running", "gauge", "Requests that are read or answered.") {
      Double($0.running)
    }
    add("vllm:num_requests_waiting", "gauge", "Requests that wait.") { Double($0.waiting) }
    add(
      "vllm:kv_cache_usage_perc", "gauge",
      "Share of the memory for keys and values that is taken, by kept prefixes too; 1 is all."
    ) { $0.keyValueBudget > 0 ? Double($0.keyValueBytes) / Double($0.keyValueBudget) : 0 }
    add("vllm:prefix_cache_queries", "counter", "Tokens of prompts looked up among prefixes.") {
      Double($0.promptTokens)
    }
    add("vllm:prefix_cache_hits", "counter", "Tokens of prompts found among prefixes.") {
      Double($0.cachedTokens)
    }
    add("vllm:prompt_tokens_total", "counter", "Tokens of prompts.") { Double($0.promptTokens) }
    add("vllm:generation_tokens_total", "counter", "Tokens of answers.") {
      Double($0.completionTokens)
    }
    lines += "# HELP vllm:request_success_total Requests that ended, by why.\n"
    lines += "# TYPE vllm:request_success_total counter\n"
    for (model, metrics) in models {
      for (reason, count) in metrics.finished.sorted(by: { $0.key < $1.key }) {
        lines +=
          "vllm:request_success_total{\(Self.label(model)),finished_reason=\"\(reason)\"} \(count)\n"
      }
    }
    func histogram(
      _ name: String, _ help: String, _ value: (EngineMetrics) -> EngineMetrics.Histogram
    ) {
      lines += "# HELP \(name) \(help)\n# TYPE \(name) histogram\n"
      for (model, metrics) in models {
        lines += Self.lines(of: value(metrics), name, labels: Self.label(model))
      }
    }
    histogram("vllm:time_to_first_token_seconds", "Seconds from request to first token.") {
      $0.timeToFirstToken
    }
    histogram("vllm:request_queue_time_seconds", "Seconds that requests waited.") {
      $0.queueSeconds
    }
    histogram("vllm:e2e_request_latency_seconds", "Seconds from request to end.") {
      $0.requestSeconds
    }
    add("minference:kv_bytes", "gauge", "Bytes of keys and values in memory.") {
      Double($0.keyValueBytes)
    }
    add("minference:kept_sequences", "gauge", "Sequences kept for later prompts.") {
      Double($0.keptSequences)
    }
    add("minference:disk_bytes", "gauge", "Bytes of prefixes on disk.") { Double($0.diskBytes) }
    add("minference:disk_hits_total", "counter", "Prefixes taken from disk.") {
      Double($0.diskHits)
    }
    add("minference:disk_read_bytes_total", "counter", "Bytes of prefixes taken from disk.") {
      Double($0.diskReadBytes)
    }
    add(
      "minference:disk_read_seconds_total", "counter",
      "Seconds from the beginning to the end of what was taken from disk."
    ) { $0.diskReadSeconds }
    add(
      "minference:disk_failures_total", "counter",
      "How many times a prefix could not be written to disk or read from there."
    ) { Double($0.diskFailures) }
    add(
      "minference:longest_stall_seconds", "gauge",
      "The longest time that a running answer waited for its next token."
    ) { $0.longestStall }
    return lines + (server.registry?.text ?? "")
  }

  /// A histogram with its cumulative counts.
  static func lines(
    of histogram: EngineMetrics.Histogram, _ name: String, labels: String
  ) -> String {
    var lines = ""
    var count = 0
    let prefix = labels.isEmpty ? "" : labels + ","
    let bounds = histogram.bounds.map(number) + ["+Inf"]
    for (bound, own) in zip(bounds, histogram.counts) {
      count += own
      lines += "\(name)_bucket{\(prefix)le=\"\(bound)\"} \(count)\n"
    }
    let braces = labels.isEmpty ? "" : "{\(labels)}"
    lines += "\(name)_sum\(braces) \(number(histogram.sum))\n"
    return lines + "\(name)_count\(braces) \(count)\n"
  }

  private static func label(_ model: String) -> String {
    "model_name=\"\(PrometheusRegistry.escaped(model))\""
  }

  static func number(_ value: Double) -> String {
    Int(exactly: value).map(String.init) ?? "\(value)"
  }
}
