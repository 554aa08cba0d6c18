import Transformers

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// A dense reading as a work file keeps it.
struct StoredReading: Codable {
  /// The sampled hidden states, [positions * hidden] float32, little endian.
  private var states: Data
  private var attentionSeconds: Double
  private var seconds: Double
  /// Seconds that reading took, with everything around the prefill.
  var elapsed: Double

  init(_ reading: DenseReading, elapsed: Double, _ model: Transformer) throws {
    let values = try model.values(of: reading.states).map { $0.bitPattern.littleEndian }
    states = values.withUnsafeBytes { Data($0) }
    attentionSeconds = reading.attentionSeconds
    seconds = reading.seconds
    self.elapsed = elapsed
  }

  var durations: [Double] { [attentionSeconds, seconds, elapsed] }

  /// - Throws: `TransformerError` for states that are not of this sample and model.
  func reading(of sample: GoalSample, _ model: Transformer) throws -> DenseReading {
    let values = states.withUnsafeBytes { bytes in
      (0..<bytes.count / 4).map {
        Float(
          bitPattern: UInt32(
            littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self)))
      }
    }
    return DenseReading(
      states: try model.sampledStates(values, at: sample.positions),
      attentionSeconds: attentionSeconds, seconds: seconds)
  }
}

extension WorkFile {
  func dense(sample: Int, isValidating: Bool) -> StoredReading? {
    for case .dense(sample, isValidating, let stored) in entries { return stored }
    return nil
  }

  var probes: (probes: HeadProbes, seconds: Double)? {
    for case .probes(let probes, let seconds) in entries { return (probes, seconds) }
    return nil
  }

  func reading(
    of choice: String, sample: Int, isValidating: Bool, share: Double
  ) -> (SparseReading, Double)? {
    for case .reading(choice, sample, isValidating, share, let reading, let seconds) in entries {
      return (reading, seconds)
    }
    return nil
  }
}
