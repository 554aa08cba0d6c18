public import Pipeline
import Checkpoints
import Compute
import Transformers

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A model whose layers are spread over several processes, which torchrun, srun or mpirun started: each
/// opens one device. Process 0 talks; the others serve it.
public enum RankService {
  /// Which process this one is.
  ///
  /// - Throws: ``PipelineError/environment(problem:)`` where the environment does not say so.
  public static func rank() throws -> ProcessRank {
    let names = [
      "RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT",
      "TORCHELASTIC_USE_AGENT_STORE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
      "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE", "SLURM_PROCID",
      "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_NODELIST",
      "SLURM_JOB_NODELIST", "SLURM_JOB_ID",
    ]
    var environment: [String: String] = [:]
    for name in names {
      if let value = getenv(name) { environment[name] = String(cString: value) }
    }
    return try ProcessRank(environment: environment)
  }

  /// Lets the processes that serve this one end as they should, and waits for them. A program calls it before it
  /// ends: without it they report that process 0 was lost.
  public static func end() { ProcessGroup.endAll() }

  /// Serves process 0 with a part of a checkpoint until process 0 ends; for processes from rank 1 on.
  ///
  /// - Parameters:
  ///   - onEnd: Called when process 0 has ended as it should, before this returns.
  ///   - onLoss: Called on a thread of its own when process 0 is lost, which may be long before the
  ///     device's work returns.
  /// - Throws: ``PipelineError``, `CheckpointError`, `ComputeError`.
  public static func serve(
    _ options: LoadOptions, as rank: ProcessRank,
    onEnd: @escaping @Sendable () -> Void = {},
    onLoss: @escaping @Sendable (PipelineError) -> Void
  ) throws {
    let checkpoint = try openWeightSource(
      at: options.directory, configuration: options.configuration)
    let member = try options.makeMember(of: rank)
    let server = try StageServer(rank, member: member, onEnd: onEnd, onLoss: onLoss)
    try server.serve { try Transformer(checkpoint: checkpoint, backend: member.backend, part: $0) }
  }
}

extension LoadOptions {
  /// This process's device: of several GPUs of a host the one with the process's number there.
  package func makeMember(of rank: ProcessRank) throws -> LayerPipeline.Member {
    var options = DeviceOptions(
      threads: threads, linear: linear, attentionPrecision: attentionPrecision)
    let gpus = try? CUDACount.gpus()
    guard device != .cpu, device != .auto || (gpus ?? 0) > 0 else {
      return LayerPipeline.Member(
        backend: try Device.cpu.makeBackend(options), name: Device.cpu.rawValue)
    }
    // A launcher may show each process its own GPU alone.
    let count = max(1, gpus ?? 1)
    options.ordinal = rank.localRank < count ? rank.localRank : rank.localRank % count
    return LayerPipeline.Member(
      backend: try Device.cuda.makeBackend(options), name: "cuda:\(options.ordinal ?? 0)")
  }
}

/// How many GPUs this process sees.
private enum CUDACount {
  static func gpus() throws -> Int { try DeviceRegistry.accelerators[0].deviceCount() }
}
