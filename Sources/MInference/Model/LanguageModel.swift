import ChatTemplates
public import Checkpoints
public import Compute
import Files
public import SparseAttention
public import Tokenizers
public import Transformers

/// A checkpoint with its tokenizer and its patterns, on a device: ready to answer.
///
///     let model = try await LanguageModel.load(directory: "Models/...")
///     let prompt = try model.encode(.user(document + "\n\n" + question))
///     let session = try model.makeSession(capacity: prompt.count + 256)
///     try await session.prefill(prompt)
///     for try await piece in session.generate() { print(piece, terminator: "") }
///
/// A model never changes: any number of sessions may run on it at once.
public final class LanguageModel: Sendable {
  /// As given to ``load(directory:device:threads:linear:attentionPrecision:patterns:chatTemplate:)``.
  public let directory: String
  public let tokenizer: Tokenizer
  public let transformer: Transformer
  /// What the checkpoint asks of sampling.
  public let generation: GenerationConfiguration
  /// The patterns of its heads, from a file; nil if there is none.
  public let patterns: PatternConfiguration?
  /// Where ``patterns`` came from.
  package let patternSource: PatternSource
  /// Sixteen hexadecimal digits that tell apart models whose keys and values differ: by weights, by
  /// configuration, or by what linear layers multiply.
  public let fingerprint: String
  /// A chat template that was given in place of the checkpoint's.
  private let chatTemplate: ChatTemplate?
  /// What the user should know about the device, one line each: a missing BLAS, for example.
  public let notices: [String]

  /// Loads a model. Blocks the calling thread while weights are checked; from a task
  /// use ``load(directory:device:threads:linear:attentionPrecision:patterns:chatTemplate:)``.
  ///
  /// - Parameters:
  ///   - directory: A directory with config.json, *.safetensors, tokenizer.json, and what else Hugging
  ///     Face puts there; a GGUF file, of several parts any one of them; or the name of a model in Hugging
  ///     Face's cache, ORG/NAME.
  ///   - threads: CPU threads to compute on; nil for one on every processor.
  ///   - linear: What linear layers of a GPU multiply.
  ///   - patterns: A pattern file; nil for `patterns.json` of the directory, or a file there that the
  ///     authors of MInference published for this model, or the budgets in its config.json; beside
  ///     a file NAME.gguf, for NAME.patterns.json or these.
  ///   - chatTemplate: A file with a chat template in place of the checkpoint's.
  ///   - attentionPrecision: What attention of prompts multiplies; fp8 needs a Hopper GPU.
  /// - Throws: `CheckpointError`, `TokenizerError`, `TransformerError`, `ComputeError`,
  ///   ``LanguageModelError``; every description is one line that names the file.
  public init(
    directory: String, device: Device = .auto, threads: Int? = nil,
    linear: LinearPrecision = .bf16, attentionPrecision: AttentionPrecision = .native,
    patterns: String? = nil, chatTemplate: String? = nil
  ) throws {
    self.chatTemplate = try chatTemplate.map(ChatTemplate.init(contentsOfFile:))
    var backend = try device.makeBackend(
      threads: threads, linear: linear, attentionPrecision: attentionPrecision)
    let checkpoint = try openWeightSource(at: directory)
    tokenizer = try Tokenizer(checkpoint.tokenizerSource())
    do {
      transformer = try Transformer(checkpoint: checkpoint, backend: backend)
    } catch let error as ComputeError {
      // A GPU that nobody asked for by name, and that has no kernels for such a model.
      guard device == .auto, backend.name != "cpu", linear == .bf16, attentionPrecision == .native,
        case .unavailable = error
      else { throw error }
      backend = try Device.processor(threads: threads, insteadOf: error)
      transformer = try Transformer(checkpoint: checkpoint, backend: backend)
    }
    let precision = linear == .bf16 ? "" : " \(linear.rawValue)"
    fingerprint = Fingerprint.of(
      "\(try checkpoint.fingerprint()) \(checkpoint.configuration.fingerprint)\(precision)")
    try checkpoint.verifyUnchanged()
    self.directory = directory
    generation = checkpoint.generation
    (patternSource, self.patterns) = try PatternSource.find(
      given: patterns, directory: checkpoint.path, configuration: checkpoint.configuration)
    notices = checkpoint.notices + backend.notices
  }

  /// The same on a thread of its own.
  public static func load(
    directory: String, device: Device = .auto, threads: Int? = nil,
    linear: LinearPrecision = .bf16, attentionPrecision: AttentionPrecision = .native,
    patterns: String? = nil, chatTemplate: String? = nil
  ) async throws -> LanguageModel {
    try await WorkerThread.run {
      try LanguageModel(
        directory: directory, device: device, threads: threads, linear: linear,
        attentionPrecision: attentionPrecision, patterns: patterns, chatTemplate: chatTemplate)
    }
  }

  /// Operations that the host has served so far because the device has no kernel for them.
  public var hostOperations: [String] { transformer.backend.hostOperations.map(\.rawValue) }

  /// The most tokens that a sequence may have, prompt and answer together.
  public var contextLength: Int { transformer.contextLength }

  /// Whether prompts can be put in chat form.
  public var hasChatTemplate: Bool {
    chatTemplate != nil || tokenizer.configuration.chatTemplate != nil
      || !tokenizer.configuration.namedChatTemplates.isEmpty
  }

  /// Ids that end an answer: the checkpoint's, and the tokenizer's end of text.
  var stopIDs: Set<Int32> {
    Set(generation.endOfTextTokenIDs.map { Int32(clamping: $0) }).union(
      tokenizer.endOfTextID.map { [$0] } ?? [])
  }

  /// What generation_config.json asks for; greedy unless it asks for sampling.
  public var defaultSampling: SamplingOptions { SamplingOptions(generation) }

  /// The token ids of a prompt.
  ///
  /// - Parameter chat: Which template puts messages in chat form, and what it is told beside them.
  /// - Throws: ``LanguageModelError/emptyPrompt``, ``LanguageModelError/promptTooLong(tokens:contextLength:)``,
  ///   ``LanguageModelError/noChatTemplate(file:)``, `ChatTemplateError`.
  public func encode(_ prompt: Prompt, chat: ChatOptions = ChatOptions()) throws -> [Int32] {
    let ids: [Int32]
    switch prompt {
    case .chat(let messages):
      guard messages.contains(where: { !$0.content.isEmpty }) else {
        throw LanguageModelError.emptyPrompt
      }
      // As Hugging Face does it, a beginning-of-text token is the template's affair.
      ids = tokenizer.encode(try ChatFormat(tokenizer, chatTemplate, chat).segments(messages))
    case .raw(let text):
      guard !text.isEmpty else { throw LanguageModelError.emptyPrompt }
      ids = tokenizer.encode(text)
    case .tokens(let tokens): ids = tokens
    }
    guard !ids.isEmpty else { throw LanguageModelError.emptyPrompt }
    guard ids.count < contextLength else {
      throw LanguageModelError.promptTooLong(tokens: ids.count, contextLength: contextLength)
    }
    return ids
  }

  /// The ids of a user's next message, to be read behind the answer that a session has just given.
  public func encodeFollowUp(
    _ message: String, chat: ChatOptions = ChatOptions()
  ) throws -> [Int32] {
    tokenizer.encode(try ChatFormat(tokenizer, chatTemplate, chat).continuation(message))
  }

  /// A new sequence.
  ///
  /// - Parameter capacity: Tokens that it has room for, prompts and answers together; at most
  ///   ``contextLength``, which also stands for anything larger.
  public func makeSession(
    capacity: Int, options: SessionOptions = SessionOptions()
  ) throws -> Session {
    _ = try planner(for: options.attention)
    return Session(model: self, capacity: min(max(1, capacity), contextLength), options: options)
  }
}
