extension MemoryPlan {
  /// What one device of a pipeline takes.
  public struct Stage: Sendable, Equatable {
    /// The device and its layers.
    public let name: String
    /// Bytes of the device beside the weights.
    public let deviceBytes: Int
  }
}

extension KeyValueCache {
  /// Makes one plan of those of the parts, for the user to read.
  ///
  /// - Parameter names: Of the stages.
  package func describePlans(of names: [String]) {
    let plans = parts.compactMap(\.memoryPlan)
    guard plans.count == parts.count, var plan = plans.first else { return }
    plan = MemoryPlan(
      keyValues: plan.keyValues, deviceBytes: plans.reduce(0) { $0 + $1.deviceBytes },
      hostBytes: plans.reduce(0) { $0 + $1.hostBytes },
      keyValueBytes: plans.reduce(0) { $0 + $1.keyValueBytes },
      keepsQueries: plans.allSatisfy(\.keepsQueries),
      parts: plans.max { $0.deviceBytes < $1.deviceBytes }?.parts ?? plan.parts,
      stages: zip(names, plans).map { Stage(name: $0, deviceBytes: $1.deviceBytes) })
    memoryPlan = plan
  }

  private typealias Stage = MemoryPlan.Stage
}
