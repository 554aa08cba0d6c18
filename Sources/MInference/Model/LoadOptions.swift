public import Compute
public import Pipeline

/// Which checkpoint is loaded, where it computes, and how exactly.
public struct LoadOptions: Sendable, Hashable {
  /// A directory with config.json, *.safetensors, tokenizer.json, and what else Hugging Face puts
  /// there; a GGUF file, of several parts any one of them; or the name of a model in Hugging Face's
  /// cache, ORG/NAME.
  public var directory: String
  /// What stands for the directory's config.json: the name of a file there, such as `config_1m.json`, or
  /// a path; nil: config.json.
  public var configuration: String?
  public var device: Device
  /// Devices that share the model's layers, in place of ``device``; nil: one device holds all.
  public var devices: DeviceList?
  /// How many layers each of ``devices`` gets; nil: as is quickest.
  public var stageLayers: [Int]?
  /// Called when another process of ``DeviceList/ranks`` is lost.
  public var lostRank: LossHandler?
  /// CPU threads to compute on; nil for one on every processor.
  public var threads: Int?
  /// What linear layers of a GPU multiply.
  public var linear: LinearPrecision
  /// What attention of prompts multiplies; fp8 needs a Hopper GPU.
  public var attentionPrecision: AttentionPrecision
  /// A pattern file; nil for `patterns.json` of the directory, or a file there that the authors of
  /// MInference published for this model, or the budgets in its config.json; beside a file
  /// NAME.gguf, for NAME.patterns.json or these.
  public var patterns: String?
  /// A file with a chat template in place of the checkpoint's.
  public var chatTemplate: String?

  public init(
    directory: String, device: Device = .auto, threads: Int? = nil,
    linear: LinearPrecision = .bf16, attentionPrecision: AttentionPrecision = .native,
    patterns: String? = nil, chatTemplate: String? = nil, devices: DeviceList? = nil
  ) {
    self.directory = directory
    self.device = device
    self.devices = devices
    self.threads = threads
    self.linear = linear
    self.attentionPrecision = attentionPrecision
    self.patterns = patterns
    self.chatTemplate = chatTemplate
  }

  /// What is done when another process is lost. Options are equal whatever it does.
  public struct LossHandler: Sendable, Hashable {
    public let call: @Sendable (PipelineError) -> Void

    public init(_ call: @escaping @Sendable (PipelineError) -> Void) { self.call = call }

    public static func == (left: LossHandler, right: LossHandler) -> Bool { true }

    public func hash(into hasher: inout Hasher) {}
  }

  /// The backend that these options ask for.
  func makeBackend() throws -> any Backend {
    try device.makeBackend(
      threads: threads, linear: linear, attentionPrecision: attentionPrecision)
  }

  /// The backends that ``devices`` asks for, each with its name; nil for one device.
  func makeMembers() throws -> [LayerPipeline.Member]? {
    try devices?.makeMembers(
      threads: threads, linear: linear, attentionPrecision: attentionPrecision)
  }

  /// Whether anything is multiplied in fewer bits than the device does of itself.
  var isNarrow: Bool { linear != .bf16 || attentionPrecision != .native }
}
