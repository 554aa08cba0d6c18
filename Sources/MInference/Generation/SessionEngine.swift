import Compute
import Synchronization

/// The engine that computes for the sessions of a model. It stops with the last of them.
final class SessionEngine: Sendable {
  private let engine: Engine

  init(model: LanguageModel) throws {
    // Sessions bring their own memory and wait for nobody's.
    engine = try Engine(
      model: model,
      options: EngineOptions(memoryBytes: .max, runningSequences: 256))
  }

  deinit { engine.inbox.stop(by: .now, writingBy: .now) }

  /// As ``Engine/answer(_:for:cancellation:tell:)``.
  func answer(
    _ request: AnswerRequest, for session: SessionWork, cancellation: CancellationFlag,
    tell: @escaping @Sendable (AnswerEvent) -> Void = { _ in }
  ) async throws -> AnswerSummary {
    try await engine.answer(request, for: session, cancellation: cancellation, tell: tell)
  }

  /// Lets the engine see that a request was cancelled.
  func wake() { engine.inbox.wake() }
}

/// Finds the engine of a model's sessions, as long as there is one.
final class SessionEngines: Sendable {
  private struct Current: @unchecked Sendable {
    // Read and written under the lock alone.
    weak var engine: SessionEngine?
  }

  private let current = Mutex(Current())

  /// - Throws: ``LanguageModelError/noThread(reason:)``.
  func engine(for model: LanguageModel) throws -> SessionEngine {
    try current.withLock { current in
      if let engine = current.engine { return engine }
      let engine = try SessionEngine(model: model)
      current.engine = engine
      return engine
    }
  }
}
