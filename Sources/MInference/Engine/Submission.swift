import Transformers

/// A request between its submission and its end.
struct Submission: Sendable {
  let id: Int
  let request: AnswerRequest
  /// What a session asks for its own sequence; nil: the engine finds a sequence for the request.
  let session: SessionWork?
  let cancellation: CancellationFlag
  let sink: AnswerSink
  let time = ContinuousClock.now
}

/// Who is told what becomes of a request. Called on the engine's thread.
struct AnswerSink: Sendable {
  let tell: @Sendable (AnswerEvent) -> Void
  /// Called once; nothing follows. The engine does not use the sequence any more.
  let finish: @Sendable (Result<AnswerSummary, any Error>) -> Void
}
