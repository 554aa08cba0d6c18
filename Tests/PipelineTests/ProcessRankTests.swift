import Pipeline
import Testing

/// What launchers say of a process in its environment.
struct ProcessRankTests {
  @Test("torchrun's variables")
  func torchrun() throws {
    let environment = [
      "RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "node0",
      "MASTER_PORT": "1234",
    ]
    #expect(
      try ProcessRank(environment: environment)
        == ProcessRank(
          rank: 3, size: 8, localRank: 1, address: "node0", port: 1234, launcher: "torchrun"))
    // torchrun's own store holds the port.
    let withStore = environment.merging(["TORCHELASTIC_USE_AGENT_STORE": "True"]) { $1 }
    #expect(try ProcessRank(environment: withStore).port == 1235)
  }

  @Test("mpirun's variables, on one host and on several")
  func mpirun() throws {
    var environment = [
      "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "1",
      "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    ]
    let rank = try ProcessRank(environment: environment)
    #expect(rank.address == "127.0.0.1" && rank.port == ProcessRank.defaultPort)
    #expect(rank.rank == 1 && rank.localRank == 1 && rank.launcher == "mpirun")
    environment["OMPI_COMM_WORLD_LOCAL_SIZE"] = "1"
    #expect(throws: PipelineError.self) { try ProcessRank(environment: environment) }
    environment["MASTER_ADDR"] = "first"
    #expect(try ProcessRank(environment: environment).address == "first")
  }

  @Test(
    "the first host of Slurm's lists",
    arguments: [
      ("node07", "node07"), ("node07,node08", "node07"), ("node[07-09,12]", "node07"),
      ("gpu-[3,5],cpu1", "gpu-3"), ("a[10]", "a10"),
    ])
  func slurm(list: String, host: String) throws {
    let rank = try ProcessRank(environment: [
      "SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "0",
      "SLURM_STEP_NODELIST": list, "SLURM_JOB_ID": "120017",
    ])
    #expect(rank.address == host)
    #expect(rank.port == 20_017)
    #expect(rank.rank == 2 && rank.size == 4 && rank.localRank == 0)
  }

  @Test("an environment that says nothing, or nonsense, is refused in one line")
  func refusals() {
    let good = ["RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "a"]
    for environment in [
      [:], good.merging(["RANK": "x"]) { $1 }, good.merging(["RANK": "2"]) { $1 },
      good.merging(["WORLD_SIZE": "1"]) { $1 }, good.merging(["MASTER_ADDR": ""]) { $1 },
      good.merging(["MASTER_PORT": "-1"]) { $1 },
    ] {
      let error = #expect(throws: PipelineError.self) {
        try ProcessRank(environment: environment)
      }
      #expect(!"\(error.map { "\($0)" } ?? "")".contains("\n"))
    }
  }
}
