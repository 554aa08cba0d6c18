import CSystemCalls
public import Compute
public import Pipeline

/// Several devices that share the layers of a model, in their order; see `LayerPipeline`.
public struct DeviceList: Sendable, Hashable {
  /// One device: its kind, and its number among those of its kind.
  public struct Member: Sendable, Hashable {
    public var device: Device
    /// nil for a kind of which there is one.
    public var ordinal: Int?

    public init(_ device: Device, ordinal: Int? = nil) {
      self.device = device
      self.ordinal = ordinal
    }

    /// "cuda:1"
    public var name: String { device.rawValue + (ordinal.map { ":\($0)" } ?? "") }
  }

  private enum Choice: Hashable {
    /// Every GPU.
    case all
    case members([Member])
    /// One device in each process of a run.
    case ranks
  }

  private let choice: Choice

  private init(_ choice: Choice) { self.choice = choice }

  /// Every GPU that this process sees.
  public static let all = DeviceList(.all)

  /// One device in each of the processes that torchrun, srun or mpirun started.
  public static let ranks = DeviceList(.ranks)

  /// Whether devices are in several processes.
  public var isRanks: Bool { choice == .ranks }

  /// - Precondition: not empty.
  public init(_ members: [Member]) {
    precondition(!members.isEmpty)
    choice = .members(members)
  }

  /// "all", "ranks", or names separated by commas: the numbers of GPUs ("0,1"), kinds of devices ("cpu,cpu"),
  /// or both ("cuda:0,cuda:1"). nil for anything else, and for a GPU that is named twice.
  public init?(_ text: String) {
    if text == "all" || text == "ranks" {
      self = text == "all" ? .all : .ranks
      return
    }
    var members: [Member] = []
    for name in text.split(separator: ",", omittingEmptySubsequences: false) {
      let parts = name.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
      if parts.count == 1, let ordinal = Int(parts[0]), ordinal >= 0 {
        members.append(Member(.cuda, ordinal: ordinal))
      } else if let device = Device(rawValue: parts[0]), device != .auto, parts.count <= 2 {
        guard parts.count == 1 || Int(parts[1]).map({ $0 >= 0 }) == true else { return nil }
        members.append(Member(device, ordinal: parts.count == 2 ? Int(parts[1]) : nil))
      } else {
        return nil
      }
    }
    let numbered = members.filter { $0.ordinal != nil && $0.device != .cpu }
    guard !members.isEmpty, Set(numbered).count == numbered.count else { return nil }
    choice = .members(members)
  }

  /// The devices; of ``all`` those that there are.
  ///
  /// - Throws: `ComputeError.unavailable` where ``all`` finds none.
  public func members() throws -> [Member] {
    switch choice {
    case .members(let members): return members
    case .ranks: throw PipelineError.oneProcess(what: "a list of devices")
    case .all:
      let count = try DeviceRegistry.accelerators[0].deviceCount()
      guard count > 0 else {
        throw ComputeError.unavailable(what: "a GPU", remedy: Remedy(use: .processor))
      }
      return (0..<count).map { Member(.cuda, ordinal: $0) }
    }
  }
}

extension DeviceList {
  /// The devices, opened: the members of a pipeline.
  ///
  /// - Parameters:
  ///   - threads: CPU threads of all together; nil for one on every processor.
  ///   - linear: What linear layers of a GPU multiply.
  ///   - attentionPrecision: What attention of prompts multiplies.
  /// - Throws: `ComputeError.unavailable`.
  public func makeMembers(
    threads: Int? = nil, linear: LinearPrecision = .bf16,
    attentionPrecision: AttentionPrecision = .native
  ) throws -> [LayerPipeline.Member] {
    let members = try members()
    let backends = try Device.makeBackends(
      for: members,
      DeviceOptions(threads: threads, linear: linear, attentionPrecision: attentionPrecision))
    return zip(members, backends).map { LayerPipeline.Member(backend: $1, name: $0.name) }
  }
}

extension Device {
  /// A backend for these options.
  func makeBackend(_ options: DeviceOptions) throws -> any Backend {
    guard let provider = DeviceRegistry.provider(named: rawValue) else {
      return try DeviceRegistry.makeFastest(options)
    }
    return try provider.make(options)
  }

  /// A backend for one device of several, which have the processors' threads to share.
  ///
  /// - Parameter options: For all of them; threads are divided.
  /// - Throws: `ComputeError.unavailable`.
  static func makeBackends(
    for members: [DeviceList.Member], _ options: DeviceOptions
  ) throws -> [any Backend] {
    let processors = members.filter { $0.device == .cpu }.count
    return try members.map { member in
      var own = options
      own.ordinal = member.ordinal
      if member.device == .cpu {
        own.ordinal = nil
        let threads = options.threads ?? Int(csystem_cpu_count())
        own.threads = max(1, threads / processors)
      }
      guard let provider = DeviceRegistry.provider(named: member.device.rawValue) else {
        throw ComputeError.unavailable(what: member.name, remedy: Remedy(use: .processor))
      }
      return try provider.make(own)
    }
  }
}
