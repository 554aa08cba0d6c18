import EvaluationTasks
import Files
import MInference
import MInferenceServer
import PatternSearch

extension ExitStatus {
  /// The code for an error of the library; nil for errors that are none of its.
  init?(for error: any Error) {
    switch error {
    case let error as CheckpointError: self = Self.status(error)
    case let error as TokenizerError: self = error.kind == .unreadable ? .inputMissing : .inputData
    case let error as TransformerError: self = Self.status(error)
    case let error as ComputeError: self = Self.status(error)
    case let error as PipelineError: self = Self.status(error)
    case let error as PatternError: self = Self.status(error)
    case let error as LanguageModelError: self = Self.status(error)
    case let error as ChatTemplateError:
      switch error.kind {
      case .raised: self = .inputData
      case .noThread: self = .system
      case .syntax, .unsupported, .evaluation, .exhausted: self = .configuration
      }
    case let error as CacheFileError: self = Self.status(error)
    case let error as SearchError: self = Self.status(error)
    case is DemoError: self = .usage
    // Of a directory for prefixes: others are wrapped where files are read.
    case is FileError: self = .cannotCreate
    case let error as ServerError:
      if case .cannotListen = error { self = .unavailable } else { self = .configuration }
    case let error as TaskError: self = Self.status(error)
    case let error as RunError: self = Self.status(error)
    default: return nil
    }
  }

  private static func status(_ error: TaskError) -> ExitStatus {
    switch error {
    case .tooShort, .unknownKind, .unknownFile, .missingQuestions, .missingSource: .usage
    case .malformed, .empty, .nothingToAsk: .inputData
    case .unreadable: .inputMissing
    }
  }

  private static func status(_ error: RunError) -> ExitStatus {
    switch error {
    case .unwritable, .inUse: .cannotCreate
    case .malformed, .damagedLine: .inputData
    case .otherRun, .textTooShort, .unknownMethod: .usage
    }
  }

  private static func status(_ error: CheckpointError) -> ExitStatus {
    switch error {
    case .notFound, .notADirectory, .unreadable, .missingConfiguration, .missingChoice,
      .missingWeights, .missingShard, .notDownloaded, .severalModels:
      .inputMissing
    case .changedWhileMapped: .inputOutput
    case .malformedJSON, .malformedFile, .malformedTensor, .duplicateTensor, .missingTensor,
      .misshapenTensor, .unsupportedElementType, .unsupportedTensorType, .invalidField:
      .configuration
    }
  }

  private static func status(_ error: TransformerError) -> ExitStatus {
    switch error {
    case .unknownArchitecture, .unsupported, .nonFiniteWeight: .configuration
    case .emptyPrompt, .contextExceeded, .idOutOfRange: .inputData
    case .doesNotFit: .system
    case .invalidOption: .usage
    case .cacheFull, .foreignCache, .cacheInUse, .hiddenStates, .missingPart, .invalidLogits:
      .software
    }
  }

  private static func status(_ error: PipelineError) -> ExitStatus {
    switch error {
    case .stage: ExitStatus(for: error.root) ?? .software
    case .tooManyStages, .stageLayers: .usage
    case .doesNotFit, .noThread: .system
    case .environment, .oneProcess: .usage
    case .connection, .lostRank: .unavailable
    case .differentChunks, .remote, .malformedMessage: .software
    }
  }

  private static func status(_ error: ComputeError) -> ExitStatus {
    switch error {
    case .outOfMemory: .system
    case .unavailable: .unavailable
    case .shapeMismatch: .software
    }
  }

  private static func status(_ error: PatternError) -> ExitStatus {
    switch error {
    case .unreadable: .inputMissing
    case .budget: .usage
    case .malformed, .version, .entry, .shape: .configuration
    case .unwritable: .cannotCreate
    }
  }

  private static func status(_ error: CacheFileError) -> ExitStatus {
    switch error {
    case .unwritable: .cannotCreate
    case .unreadable: .inputMissing
    case .foreign, .version, .model, .format, .size, .checksum, .tooLong: .inputData
    case .unsupported, .nothingToSave: .usage
    }
  }

  private static func status(_ error: SearchError) -> ExitStatus {
    switch error {
    case .budgetTooSmall, .noSamples, .foreignWorkFile, .invalidOption, .normedAttentionOutput:
      .usage
    case .sampleTooShort: .inputData
    case .workFile: .inputOutput
    }
  }

  private static func status(_ error: LanguageModelError) -> ExitStatus {
    switch error {
    case .promptTooLong, .emptyPrompt: .inputData
    case .noChatTemplate, .noFollowUp: .configuration
    case .unknownChatTemplate: .usage
    case .malformedTools: .inputData
    case .noThread: .system
    case .nothingPrefilled, .sessionFull, .sizeMismatch: .software
    }
  }
}
