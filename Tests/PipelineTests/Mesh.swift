import BackendTesting
import Checkpoints
import Compute
import ComputeCPU
import Pipeline
import SparseAttention
import Synchronization
import TemporaryCheckpoints
import Transformers

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A small model and devices to spread it over.
final class Mesh {
  /// Kinds of devices that need no hardware.
  enum Kind: String, CaseIterable, Sendable {
    case reference, cpu

    func make() throws -> any Backend {
      switch self {
      case .reference: ReferenceBackend(tile: TileShape(rows: 16, columns: 8))
      case .cpu: try CPUBackend(threads: 1)
      }
    }
  }

  let directory: TemporaryDirectory
  let checkpoint: Checkpoint
  let layers: Int

  init(
    layers: Int = 4, configuration: [String: String] = [:], experts: TinyCheckpoint.Experts? = nil
  ) throws {
    self.layers = layers
    directory = try TemporaryDirectory()
    try TinyCheckpoint.write(
      to: directory, layers: layers, configuration: configuration, experts: experts)
    checkpoint = try Checkpoint(directory: directory.path("model"))
  }

  /// The model on one device.
  func whole(_ kind: Kind) throws -> Transformer {
    try Transformer(checkpoint: checkpoint, backend: kind.make())
  }

  /// The model on a device for each range of layers.
  func pipeline(
    _ kind: Kind, _ stages: [Range<Int>], wrap: (Int, any Backend) -> any Backend = { $1 }
  ) throws -> LayerPipeline {
    try LayerPipeline(
      checkpoint: checkpoint, members: members(kind, count: stages.count, wrap: wrap),
      stageLayers: stages.map(\.count))
  }

  /// So many devices.
  func members(
    _ kind: Kind, count: Int, wrap: (Int, any Backend) -> any Backend = { $1 }
  ) throws -> [LayerPipeline.Member] {
    try (0..<count).map {
      LayerPipeline.Member(backend: wrap($0, try kind.make()), name: "\(kind.rawValue):\($0)")
    }
  }

  /// Keeps a processor at work for so long, of its own time.
  static func work(milliseconds: Int) {
    func now() -> Int {
      var time = timespec()
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
      return Int(time.tv_sec) * 1000 + Int(time.tv_nsec) / 1_000_000
    }
    let end = now() + milliseconds
    while now() < end {}
  }

  /// Ids of a prompt.
  static func ids(_ count: Int) -> [Int32] {
    (0..<count).map { Int32(($0 &* 7_919 &+ $0 / 5) % TinyCheckpoint.vocabulary) }
  }

  /// One head that remembers its first selection, and one that chooses blocks.
  static func planner(layers: Int) -> AttentionPlanner {
    AttentionPlanner(
      configuration: PatternConfiguration(
        patterns: Array(
          repeating: [.staticVerticalSlash(vertical: 3, slash: 3), .blockSparse(topK: 1)],
          count: layers)), exact: true)
  }
}

/// A backend that does something when attention or a norm is computed: fails, or tells somebody.
final class InterruptedBackend: ForwardingBackend, @unchecked Sendable {
  private let calls = Atomic<Int>(0)
  private let event: @Sendable (Int) throws -> Void

  /// - Parameter event: Gets the number of the norm, from 1, before it is computed.
  init(_ base: any Backend, event: @escaping @Sendable (Int) throws -> Void) {
    self.event = event
    super.init(base)
  }

  override func rmsNorm(_ x: Tensor, weight: Weight, epsilon: Float, into y: Tensor) throws {
    try event(calls.add(1, ordering: .relaxed).newValue)
    try super.rmsNorm(x, weight: weight, epsilon: epsilon, into: y)
  }
}
