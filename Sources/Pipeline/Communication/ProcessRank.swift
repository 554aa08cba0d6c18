/// Which of several processes this one is, as the program that started them says it in the environment.
public struct ProcessRank: Sendable, Hashable {
  /// 0 for the process that talks.
  public var rank: Int
  /// How many processes there are.
  public var size: Int
  /// The number of this process on its host: which GPU it takes.
  public var localRank: Int
  /// Where process 0 listens.
  public var address: String
  public var port: Int
  /// Who started the processes, for messages.
  public var launcher: String

  public init(
    rank: Int, size: Int, localRank: Int, address: String, port: Int, launcher: String = "a program"
  ) {
    self.rank = rank
    self.size = size
    self.localRank = localRank
    self.address = address
    self.port = port
    self.launcher = launcher
  }

  /// The port where nobody names one; that of torchrun.
  public static let defaultPort = 29_500

  /// Reads the variables of torchrun (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT), of Slurm's
  /// srun, or of Open MPI's mpirun; MASTER_ADDR and MASTER_PORT count with all of them.
  ///
  /// torchrun's own store listens at MASTER_PORT where TORCHELASTIC_USE_AGENT_STORE is set: the port after
  /// it is taken then.
  ///
  /// - Throws: ``PipelineError/environment(problem:)`` where there are none, or they make no sense.
  public init(environment: [String: String]) throws {
    func number(_ name: String) throws -> Int? {
      guard let text = environment[name], !text.isEmpty else { return nil }
      guard let value = Int(text), value >= 0 else {
        throw PipelineError.environment(problem: "\(name) is \"\(text)\", which is no number")
      }
      return value
    }
    let master = environment["MASTER_ADDR"].flatMap { $0.isEmpty ? nil : $0 }
    let port = try number("MASTER_PORT")
    if let rank = try number("RANK"), let size = try number("WORLD_SIZE") {
      guard let master else {
        throw PipelineError.environment(
          problem: "MASTER_ADDR is missing: set it to the host of rank 0")
      }
      let hasStore = environment["TORCHELASTIC_USE_AGENT_STORE"]?.lowercased() == "true"
      self.init(
        rank: rank, size: size, localRank: try number("LOCAL_RANK") ?? rank, address: master,
        port: (port ?? Self.defaultPort) + (hasStore ? 1 : 0), launcher: "torchrun")
    } else if let rank = try number("OMPI_COMM_WORLD_RANK"),
      let size = try number("OMPI_COMM_WORLD_SIZE")
    {
      let isOneHost = try number("OMPI_COMM_WORLD_LOCAL_SIZE") == size
      guard let address = master ?? (isOneHost ? "127.0.0.1" : nil) else {
        throw PipelineError.environment(
          problem: "MASTER_ADDR is missing: set it to the host of rank 0 (mpirun -x MASTER_ADDR)")
      }
      self.init(
        rank: rank, size: size, localRank: try number("OMPI_COMM_WORLD_LOCAL_RANK") ?? rank,
        address: address, port: port ?? Self.defaultPort, launcher: "mpirun")
    } else if let rank = try number("SLURM_PROCID"),
      let size = try number("SLURM_STEP_NUM_TASKS") ?? number("SLURM_NTASKS")
    {
      let nodes = environment["SLURM_STEP_NODELIST"] ?? environment["SLURM_JOB_NODELIST"]
      guard let address = master ?? nodes.flatMap(Self.firstHost) else {
        throw PipelineError.environment(
          problem: "neither MASTER_ADDR nor SLURM_STEP_NODELIST names the host of rank 0")
      }
      // Jobs that share a host take different ports.
      let job = try number("SLURM_JOB_ID") ?? 0
      self.init(
        rank: rank, size: size, localRank: try number("SLURM_LOCALID") ?? rank,
        address: address, port: port ?? 20_000 + job % 10_000, launcher: "srun")
    } else {
      throw PipelineError.environment(
        problem: "no variables name this process's rank: start it by torchrun, srun or mpirun")
    }
    guard size > 1, rank < size else {
      throw PipelineError.environment(
        problem: "rank \(rank) of \(size) processes: several are needed, numbered from 0")
    }
  }

  /// The first host of Slurm's lists: "node07" of "node[07-09,12],other3".
  static func firstHost(of list: String) -> String? {
    var host = ""
    for character in list {
      if character == "," { break }
      if character == "[" {
        let rest = list[list.index(after: list.firstIndex(of: "[") ?? list.startIndex)...]
        guard let end = rest.firstIndex(where: { "-,]".contains($0) }) else { return nil }
        return host + rest[..<end]
      }
      host.append(character)
    }
    return host.isEmpty ? nil : host
  }
}
