public import Compute

/// What a pipeline can fail with, beside the errors of what it runs; each description is one line.
public enum PipelineError: RemediedError, Sendable {
  /// A stage failed; the other stages were stopped.
  case stage(Int, of: Int, name: String, error: any Error)
  /// There are more stages than layers.
  case tooManyStages(stages: Int, layers: Int)
  /// Numbers of layers that do not make the model.
  case stageLayers(counts: [Int], stages: Int, layers: Int)
  /// The model does not fit the devices.
  case doesNotFit(neededBytes: Int, availableBytes: Int)
  /// Stages cut the prompt in different places.
  case differentChunks
  /// The environment does not say which process this is.
  case environment(problem: String)
  /// Another process cannot be reached.
  case connection(to: String, reason: String)
  /// A process of the run has ended, or cannot be reached any longer.
  case lostRank(Int, of: Int, host: String, reason: String)
  /// What a stage of another process failed with, in its words.
  case remote(text: String)
  /// Something that works within one process alone.
  case oneProcess(what: String)
  /// A message that makes no sense: processes of different versions.
  case malformedMessage(detail: String)
  /// The system gives no thread.
  case noThread(reason: String)

  /// What the error is at its root.
  public var root: any Error {
    if case .stage(_, _, _, let error) = self { return (error as? PipelineError)?.root ?? error }
    return self
  }

  public func description(naming name: (Remedy.Setting) -> String) -> String {
    switch self {
    case .stage(let stage, let count, let device, let error):
      "stage \(stage + 1) of \(count) (\(device)): "
        + ((error as? any RemediedError)?.description(naming: name) ?? "\(error)")
    case .tooManyStages(let stages, let layers):
      "\(stages) devices are more than the model's \(layers) layers: name fewer devices"
    case .stageLayers(let counts, let stages, let layers):
      "stages of \(counts.map(String.init).joined(separator: ", ")) layers do not make the model: "
        + "give \(stages) numbers whose sum is \(layers)"
    case .doesNotFit(let needed, let available):
      "the model needs \(needed >> 20) MiB and the devices have \(available >> 20) MiB free: name "
        + "more devices"
    case .differentChunks:
      "the devices cut a prompt in different places: name devices of one kind"
    case .environment(let problem): problem
    case .connection(let place, let reason):
      "\(place) cannot be reached (\(reason)): see that all processes run and name the same "
        + "MASTER_ADDR and MASTER_PORT"
    case .lostRank(let rank, let size, let host, let reason):
      "rank \(rank) of \(size) on \(host) was lost: \(reason)"
    case .remote(let text): text
    case .oneProcess(let what):
      "\(what) works within one process alone: name its devices"
    case .malformedMessage(let detail):
      "a message between processes makes no sense: \(detail); start all of them from one version"
    case .noThread(let reason):
      "no thread could be started (\(reason)); end other programs or raise the limit on threads"
    }
  }
}
