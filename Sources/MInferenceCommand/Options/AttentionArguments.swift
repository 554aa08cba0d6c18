import ArgumentParser
import MInference

/// Which attention a prompt is read with, and how.
struct AttentionArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "\(AttentionMode.allCases.map(\.rawValue).joined(separator: ", ")).", valueName: "mode"),
    completion: .list(AttentionMode.allCases.map(\.rawValue)),
    transform: { text in
      guard let mode = AttentionMode(rawValue: text) else {
        let known = AttentionMode.allCases.map(\.rawValue).joined(separator: ", ")
        throw ValidationError("\"\(text)\" is not known; give one of \(known)")
      }
      return mode
    })
  var attention: AttentionMode = .minference

  @OptionGroup var prefill: PrefillArguments

  @OptionGroup var watching: MonitorArguments

  @Option(
    help: ArgumentHelp(
      "What count budgets mean in a chunk: whole, or proportional to the keys that it sees of the "
        + "prompt. Whole on one device, proportional on several, if not given.",
      valueName: "kind"),
    completion: .list(ChunkBudgets.allCases.map(\.rawValue)),
    transform: { try List.named($0) })
  var chunkBudgets: ChunkBudgets?

  @Option(
    name: .customLong("kv"),
    help: ArgumentHelp(
      "How keys and values are kept: f32 or bf16 on the CPU, bf16 or fp8 on a GPU.",
      valueName: "type"),
    completion: .list(["f32", "bf16", "fp8"]),
    transform: { text in
      switch text {
      case "f32": return .float32
      case "bf16": return .bfloat16
      case "fp8": return .float8
      default: throw ValidationError("\"\(text)\" is not known; give f32, bf16 or fp8")
      }
    })
  var keyValueType: DataType?

  @Option(
    name: .customLong("kv-on"),
    help: ArgumentHelp(
      "Where keys and values lie between uses: device or host.", valueName: "place"),
    completion: .list(["device", "host"]),
    transform: { text in
      guard let place = KeyValueOptions.Place(rawValue: text) else {
        throw ValidationError("\"\(text)\" is not known; give device or host")
      }
      return place
    })
  var keyValuePlace: KeyValueOptions.Place?

  /// The library's options.
  var options: AttentionOptions {
    AttentionOptions(mode: attention, budgets: prefill.budgets.budgets, exact: prefill.exact)
  }

  func sessionOptions() -> SessionOptions {
    var session = SessionOptions(
      attention: options,
      keyValues: KeyValueOptions(type: keyValueType, place: keyValuePlace),
      chunk: prefill.chunk?.value,
      monitor: watching.options)
    session.chunkBudgets = chunkBudgets
    return session
  }

  func load(
    directory: String, device: DeviceArguments, chatTemplate: String? = nil,
    configuration: String? = nil
  ) async throws -> LanguageModel {
    try await device.serveRank(directory: directory, configuration: configuration)
    var options = device.loadOptions(
      directory: directory, patterns: prefill.patterns, chatTemplate: chatTemplate)
    options.configuration = configuration
    return try await PreparationLine.load(options)
  }

  /// What the user should know about the model and these flags, one line each.
  func notices(for model: LanguageModel) -> [String] {
    model.notices + model.notices(for: options)
  }

  func load(
    _ model: ModelArguments, chatTemplate: String? = nil
  ) async throws -> LanguageModel {
    try await load(
      directory: model.model, device: model.device, chatTemplate: chatTemplate,
      configuration: model.configuration)
  }
}
