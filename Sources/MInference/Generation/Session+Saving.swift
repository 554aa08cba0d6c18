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
      guard let cache = self.sequence.cache else { throw CacheFileError.nothingToSave }
      try self.model.transformer.save(
        cache, tokens: self.sequence.history, fingerprint: self.model.fingerprint, to: file)
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
      let sequence = self.sequence
      let cache =
        try sequence.cache
        ?? Self.makeCache(of: self.model, capacity: self.capacity, options: self.options)
      sequence.cache = cache
      do {
        sequence.history = try self.model.transformer.restore(
          cache, fingerprint: self.model.fingerprint, from: file)
      } catch {
        // A partly restored sequence is of no use.
        if cache.count == 0 {
          sequence.history = []
          sequence.forgetLogits()
        }
        self.show()
        throw error
      }
      sequence.forgetLogits()
      self.show { $0 = GenerationMetrics() }
    }
  }
}
