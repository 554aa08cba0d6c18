import Compute

/// When each stage worked on which chunk, and when hidden states were copied.
///
/// Times are those of the host's threads. A GPU works up to two blocks of rows behind its thread, so a
/// span ends that much early. The length of a copy is the device's own.
public final class PipelineTrace: Sendable {
  public struct Span: Sendable, Equatable {
    public enum Kind: String, Sendable, Equatable { case chunk, copy }

    public var kind: Kind
    public var stage: Int
    public var chunk: Int
    /// Seconds since the trace was made.
    public var start: Double
    public var seconds: Double
    /// Seconds of the processor that the stage's own thread took; of a copy none. A stage of one processor
    /// thread computes in them; the difference to ``seconds`` is what other programs took.
    public var processorSeconds = 0.0
    /// What it is of: positions of a chunk, bytes of a copy.
    public var detail: String
  }

  private struct State {
    var isOn = false
    var spans: [Span] = []
    /// Copies of each stage whose length is not known yet, as indices of spans.
    var open: [Int: [Int]] = [:]
  }

  private let state = Monitor(State())
  private let origin = ContinuousClock.now

  init() {}

  /// Whether anything is recorded.
  public var isOn: Bool {
    get { state.withLock { $0.isOn } }
    set { state.withLock { $0.isOn = newValue } }
  }

  /// What was recorded, in the order of its beginning.
  public var spans: [Span] { state.withLock { $0.spans }.sorted { $0.start < $1.start } }

  /// Forgets what was recorded.
  public func clear() { state.withLock { ($0.spans, $0.open) = ([], [:]) } }

  private var now: Double { (ContinuousClock.now - origin).inSeconds }

  func measure<Result>(
    stage: Int, chunk: Int, _ positions: Range<Int>, _ body: () throws -> Result
  ) rethrows -> Result {
    guard isOn else { return try body() }
    let (start, processor) = (now, ProcessorTime.ofThread())
    let result = try body()
    var span = Span(
      kind: .chunk, stage: stage, chunk: chunk, start: start, seconds: now - start,
      detail: "positions \(positions)")
    span.processorSeconds = ProcessorTime.ofThread() - processor
    state.withLock { $0.spans.append(span) }
    return result
  }

  func beginCopy(stage: Int, chunk: Int, bytes: Int) {
    let start = now
    state.withLock { state in
      guard state.isOn else { return }
      state.open[stage, default: []].append(state.spans.count)
      state.spans.append(
        Span(
          kind: .copy, stage: stage, chunk: chunk, start: start, seconds: 0,
          detail: "\(bytes) bytes"))
    }
  }

  /// The lengths of the copies that a stage has sent, the latest last.
  func endCopies(stage: Int, seconds: [Double]) {
    state.withLock { state in
      let open = state.open[stage] ?? []
      for (span, seconds) in zip(open.suffix(seconds.count), seconds.suffix(open.count)) {
        state.spans[span].seconds = seconds
      }
      state.open[stage] = nil
    }
  }
}

extension PipelineTrace {
  /// The spans as Chrome's trace format, which chrome://tracing and Perfetto show: a row for the chunks of
  /// each stage, and one for its copies.
  ///
  /// - Parameter names: Of the stages.
  public func chromeTrace(names: [String]) -> String {
    func quoted(_ text: String) -> String {
      "\"" + text.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : String($0) }.joined() + "\""
    }
    func micros(_ seconds: Double) -> String { "\((seconds * 1e7).rounded() / 10)" }
    var events: [String] = []
    for (stage, name) in names.enumerated() {
      events.append(
        "{\"ph\":\"M\",\"pid\":\(stage),\"name\":\"process_name\",\"args\":{\"name\":\(quoted(name))}}"
      )
      for (thread, name) in ["chunks", "copies to the next stage"].enumerated() {
        events.append(
          "{\"ph\":\"M\",\"pid\":\(stage),\"tid\":\(thread),\"name\":\"thread_name\","
            + "\"args\":{\"name\":\(quoted(name))}}")
      }
    }
    for span in spans {
      let name = "\(span.kind.rawValue) \(span.chunk)"
      events.append(
        "{\"ph\":\"X\",\"pid\":\(span.stage),\"tid\":\(span.kind == .chunk ? 0 : 1),"
          + "\"ts\":\(micros(span.start)),\"dur\":\(micros(span.seconds)),"
          + "\"name\":\(quoted(name)),\"args\":{\"of\":\(quoted(span.detail)),"
          + "\"processor_us\":\(micros(span.processorSeconds))}}")
    }
    return "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n" + events.joined(separator: ",\n")
      + "\n]}\n"
  }
}
