import ChatTemplates
public import Checkpoints
import Compute
import Files
import Pipeline
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
  /// As given in ``LoadOptions``.
  public let directory: String
  public let tokenizer: Tokenizer
  /// Long prompts of late, with which the next ones may begin.
  private let encodedTexts = EncodingMemory()
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
  /// Of the weights alone.
  package let weightFingerprint: String
  /// Whose files the device reads weights in, as they lie there; nil where it has copies.
  private let mappedWeights: (any WeightSource)?
  private let sessionEngines = SessionEngines()
  /// A chat template that was given in place of the checkpoint's.
  private let chatTemplate: ChatTemplate?
  /// What the user should know about the device, one line each: a missing BLAS, for example.
  public let notices: [String]

  /// Loads a model. Blocks the calling thread while weights are checked; from a task
  /// use ``load(_:)``.
  ///
  /// - Parameter progress: Told the share of the weights that was read and checked, 0 to 1.
  /// - Throws: `CheckpointError`, `TokenizerError`, `TransformerError`, `ComputeError`,
  ///   ``LanguageModelError``; every description is one line that names the file.
  public init(_ options: LoadOptions, progress: (@Sendable (Double) -> Void)? = nil) throws {
    chatTemplate = try options.chatTemplate.map(ChatTemplate.init(contentsOfFile:))
    directory = options.directory
    let checkpoint = try openWeightSource(
      at: directory, configuration: options.configuration)
    tokenizer = try Tokenizer(checkpoint.tokenizerSource())
    transformer = try Self.load(checkpoint, options, progress)
    // What a first prompt would wait for.
    if !transformer.backend.capabilities.hasUnifiedMemory { try transformer.warmUp() }
    let names = try checkpoint.neededTensorNames()
    var precision = options.linear == .bf16 ? "" : " \(options.linear.rawValue)"
    if transformer.backend.capabilities.roundsForBFloat16Weights,
      try checkpoint.matrixFormats(of: names).contains(.dense(.bfloat16))
    {
      precision += " bfloat16 products"
    }
    weightFingerprint = try checkpoint.fingerprint(of: names)
    fingerprint = Fingerprint.of(
      "\(weightFingerprint) \(checkpoint.configuration.fingerprint)\(precision)")
    try checkpoint.verifyUnchanged()
    mappedWeights =
      transformer.backend.capabilities.hasUnifiedMemory ? checkpoint : nil
    generation = checkpoint.generation
    (patternSource, self.patterns) = try PatternSource.find(
      given: options.patterns, directory: checkpoint.path, configuration: checkpoint.configuration)
    notices =
      checkpoint.notices + (transformer.distribution?.notices ?? transformer.backend.notices)
  }

  /// The model on one device, or its layers spread over several.
  private static func load(
    _ checkpoint: any WeightSource, _ options: LoadOptions,
    _ progress: (@Sendable (Double) -> Void)?
  ) throws -> Transformer {
    if options.devices?.isRanks == true {
      let rank = try RankService.rank()
      guard rank.rank == 0 else {
        throw PipelineError.environment(
          problem: "rank \(rank.rank) serves rank 0: it loads no model of its own")
      }
      let member = try options.makeMember(of: rank)
      let handler = options.lostRank
      let group = try ProcessGroup(rank) { loss in handler?.call(loss) }
      let pipeline = try LayerPipeline(
        group: group, shape: PipelineShape(checkpoint.configuration), member: member,
        stageLayers: options.stageLayers
      ) { (part: DecoderPart) throws -> Transformer in
        try Transformer(
          checkpoint: checkpoint, backend: member.backend, part: part, progress: progress)
      }
      return pipeline.makeTransformer()
    }
    if let members = try options.makeMembers() {
      guard members.count > 1 else {
        return try Transformer(
          checkpoint: checkpoint, backend: members[0].backend, progress: progress)
      }
      return try LayerPipeline(
        checkpoint: checkpoint, members: members, stageLayers: options.stageLayers
      ).makeTransformer()
    }
    let backend = try options.makeBackend()
    do {
      return try Transformer(
        checkpoint: checkpoint, backend: backend, progress: progress)
    } catch let error as ComputeError {
      // A GPU that nobody asked for by name, and that has no kernels for such a model.
      guard options.device == .auto, backend.name != "cpu", !options.isNarrow,
        case .unavailable = error
      else { throw error }
      return try Transformer(
        checkpoint: checkpoint,
        backend: Device.processor(threads: options.threads, insteadOf: error),
        progress: progress)
    }
  }

  /// Throws `CheckpointError` where a file that weights are read in was written to since it was opened:
  /// what was computed meanwhile means nothing.
  func verifyWeights() throws { try mappedWeights?.verifyUnchanged() }

  /// The same on a thread of its own.
  public static func load(
    _ options: LoadOptions, progress: (@Sendable (Double) -> Void)? = nil
  ) async throws -> LanguageModel {
    try await WorkerThread.run { try LanguageModel(options, progress: progress) }
  }

  /// A checkpoint directory on the fastest device of this machine.
  public static func load(directory: String) async throws -> LanguageModel {
    try await load(LoadOptions(directory: directory))
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
      ids = tokenizer.encode(
        try ChatFormat(tokenizer, chatTemplate, chat).segments(messages), memory: encodedTexts)
    case .raw(let text):
      guard !text.isEmpty else { throw LanguageModelError.emptyPrompt }
      ids = tokenizer.encode(text, memory: encodedTexts)
    case .tokens(let tokens): ids = tokens
    }
    guard !ids.isEmpty else { throw LanguageModelError.emptyPrompt }
    guard ids.count < contextLength else {
      throw LanguageModelError.promptTooLong(tokens: ids.count, contextLength: contextLength)
    }
    return ids
  }

  /// Messages in the model's chat form, as a text.
  ///
  /// - Throws: ``LanguageModelError/noChatTemplate(file:)``, `ChatTemplateError`.
  public func text(
    of messages: [ChatMessage], chat: ChatOptions = ChatOptions()
  ) throws -> String {
    try ChatFormat(tokenizer, chatTemplate, chat).segments(messages).map(\.text).joined()
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
  /// - Throws: `PatternError` for attention that makes no sense; ``LanguageModelError/noThread(reason:)``.
  public func makeSession(
    capacity: Int, options: SessionOptions = SessionOptions()
  ) throws -> Session {
    _ = try planner(for: options.attention)
    return Session(
      model: self, engine: try sessionEngines.engine(for: self),
      capacity: min(max(1, capacity), contextLength), options: options)
  }
}
