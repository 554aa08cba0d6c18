public import Compute

/// Which checkpoint is loaded, where it computes, and how exactly.
public struct LoadOptions: Sendable, Hashable {
  /// A directory with config.json, *.safetensors, tokenizer.json, and what else Hugging Face puts
  /// there; a GGUF file, of several parts any one of them; or the name of a model in Hugging Face's
  /// cache, ORG/NAME.
  public var directory: String
  public var device: Device
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
    patterns: String? = nil, chatTemplate: String? = nil
  ) {
    self.directory = directory
    self.device = device
    self.threads = threads
    self.linear = linear
    self.attentionPrecision = attentionPrecision
    self.patterns = patterns
    self.chatTemplate = chatTemplate
  }

  /// The backend that these options ask for.
  func makeBackend(_ progress: LoadProgressHandler?) throws -> any Backend {
    try device.makeBackend(
      threads: threads, linear: linear, attentionPrecision: attentionPrecision,
      onPreparation: progress.map { progress in { progress(.preparation($0)) } })
  }

  /// Whether anything is multiplied in fewer bits than the device does of itself.
  var isNarrow: Bool { linear != .bf16 || attentionPrecision != .native }
}
