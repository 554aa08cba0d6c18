import ArgumentParser
import MInference
import TextReports

/// Which device computes, with how many threads, and how exactly.
struct DeviceArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp("Where to compute: \(Device.names).", valueName: "device"),
    completion: .list(Device.allCases.map(\.rawValue)),
    transform: { text in
      guard let device = Device(rawValue: text) else {
        throw ValidationError("\"\(text)\" is not known; give \(Device.names)")
      }
      return device
    })
  var device: Device = .auto

  @Option(
    help: ArgumentHelp(
      "Devices that share the model's layers, in place of --device: all GPUs, the numbers of some "
        + "(0,1), names (cpu,cpu), or ranks: one in each process that torchrun, srun or mpirun "
        + "started.", valueName: "all|n,n|ranks"),
    transform: { text in
      guard let devices = DeviceList(text) else {
        throw ValidationError(
          "\"\(text)\" is not known; give all, ranks, or devices separated by commas such as 0,1, each "
            + "GPU once")
      }
      return devices
    })
  var devices: DeviceList?

  @Option(
    help: ArgumentHelp(
      "With --devices: how many layers each gets, separated by commas; as is quickest if not given.",
      valueName: "n,n"),
    transform: { try List.parsed($0) { try Size.parsed($0) }.map(\.value) })
  var stageLayers: [Int]?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("CPU threads; as many as there are processors.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var threads: Size?

  @Option(
    help: ArgumentHelp(
      "What linear layers of a GPU multiply: bf16, or fp8, which is faster, takes half the memory and "
        + "loses digits (Hopper).", valueName: "type"),
    completion: .list(LinearPrecision.allCases.map(\.rawValue)),
    transform: { try List.named($0) })
  var linear: LinearPrecision = .bf16

  @Option(
    help: ArgumentHelp(
      "What attention of prompts multiplies: native, or fp8 on a Hopper GPU.", valueName: "type"),
    completion: .list(AttentionPrecision.allCases.map(\.rawValue)),
    transform: { try List.named($0) })
  var attentionPrecision: AttentionPrecision = .native

  /// Whether anything is multiplied in fewer bits than the device does of itself.
  var isNarrow: Bool { linear != .bf16 || attentionPrecision != .native }

  /// What is loaded from `directory`, on the device that these flags ask for.
  func loadOptions(
    directory: String, patterns: String? = nil, chatTemplate: String? = nil
  ) -> LoadOptions {
    var options = LoadOptions(
      directory: directory, device: device, threads: threads?.value, linear: linear,
      attentionPrecision: attentionPrecision, patterns: patterns, chatTemplate: chatTemplate,
      devices: devices)
    options.stageLayers = stageLayers
    options.lostRank = LoadOptions.LossHandler { FailureReport.exit(with: $0) }
    return options
  }

  /// With --devices ranks, in processes from rank 1 on: serves rank 0 with a part of the model until that
  /// ends, and throws ``RankServed``. Does nothing otherwise.
  func serveRank(
    directory: @autoclosure () throws -> String, configuration: String? = nil
  ) async throws {
    guard devices?.isRanks == true else { return }
    let rank = try RankService.rank()
    guard rank.rank > 0 else { return }
    var options = loadOptions(directory: try directory())
    options.configuration = configuration
    let served = options
    try await WorkerThread.run {
      try RankService.serve(
        served, as: rank, onEnd: { FailureReport.exit(with: RankServed()) },
        onLoss: { FailureReport.exit(with: $0) })
    }
    throw RankServed()
  }

  /// For verbs that look at the queries and keys of single layers: those of another process are out of reach.
  func requireOneProcess() throws {
    guard devices?.isRanks != true else {
      throw ValidationError(
        "--devices ranks: this looks at single layers, which the processes do not show one another; "
          + "name the devices of one process")
    }
  }

  /// The backend that these flags ask for.
  func makeBackend() throws -> any Backend {
    guard devices == nil else {
      throw ValidationError(
        "--devices: this measures or verifies the kernels of one device; give --device, and run it for "
          + "each device")
    }
    return try device.makeBackend(
      threads: threads?.value, linear: linear, attentionPrecision: attentionPrecision)
  }

  /// The devices that these flags ask for, as members of a pipeline; one of them is no pipeline.
  func makeMembers() throws -> [LayerPipeline.Member] {
    if let devices {
      return try devices.makeMembers(
        threads: threads?.value, linear: linear, attentionPrecision: attentionPrecision)
    }
    let backend = try makeBackend()
    return [LayerPipeline.Member(backend: backend, name: backend.name)]
  }

  func validate() throws {
    if stageLayers != nil, devices == nil {
      throw ValidationError("--stage-layers: one device has all layers; give --devices too")
    }
    if let devices, !devices.isRanks, device != .auto {
      throw ValidationError("--device and --devices: give one of the two")
    }
    if let threads, threads.value > Device.mostThreads {
      throw ValidationError(
        "--threads: \(Quantity.grouped(threads.value)) is too many; give "
          + "\(Quantity.grouped(Device.mostThreads)) or fewer")
    }
  }
}

extension Device {
  /// "auto, cpu or cuda"
  fileprivate static var names: String {
    let names = allCases.map(\.rawValue)
    return names.dropLast().joined(separator: ", ") + " or " + (names.last ?? "")
  }
}

/// A process has served another one to its end: nothing is left to do.
struct RankServed: Error {}

/// Which checkpoint is used.
struct ModelArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The checkpoint's directory, a GGUF file, or ORG/NAME in Hugging Face's cache.",
      valueName: "model"), completion: .file(extensions: ["gguf"]))
  var model: String

  @Option(
    name: .customLong("config"),
    help: ArgumentHelp(
      "The file of the checkpoint's directory that stands for config.json: config_1m.json has a longer "
        + "context.", valueName: "file"), completion: .file())
  var configuration: String?

  @OptionGroup var device: DeviceArguments
}
