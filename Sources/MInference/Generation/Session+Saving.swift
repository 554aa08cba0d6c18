import Synchronization
import Transformers

extension Session {
  /// Writes what the session holds to a file: token ids, keys and values, with a checksum.
  ///
  /// The file is replaced as a whole or not at all. Another session of the same model, with the same
  /// number format, goes on from it. How the prompt was read, densely or sparsely, is not recorded;
  /// what static patterns remember of it is not kept.
  ///
  /// - Throws: `CacheFileError`, `ComputeError`.
  public func save(to file: String) async throws {
    try await inTurn {
      try self.withState { state in
        guard let cache = state.cache else { throw CacheFileError.nothingToSave }
        try self.model.transformer.save(
          cache, tokens: state.history, fingerprint: self.model.fingerprint, to: file)
      }
    }
  }

  /// Takes up what ``save(to:)`` wrote, in place of what the session holds. Then ``read(_:progress:)``
  /// or ``prefill(_:progress:)`` goes on; there is no answer before.
  ///
  /// A file that is refused (another model, version or number format, a wrong checksum, not whole,
  /// too long for the session) changes nothing.
  ///
  /// - Throws: `CacheFileError`, `TransformerError`, `ComputeError`.
  public func restore(from file: String) async throws {
    try await inTurn {
      try self.withState { state in
        let cache = try state.cache ?? self.makeCache()
        state.cache = cache
        do {
          state.history = try self.model.transformer.restore(
            cache, fingerprint: self.model.fingerprint, from: file)
        } catch {
          // A partly restored sequence is of no use.
          if cache.count == 0 { state.forget() }
          throw error
        }
        state.unread = state.history.count > cache.count ? state.history.last : nil
        state.prefill = nil
        state.metrics = GenerationMetrics()
      }
    }
  }
}
