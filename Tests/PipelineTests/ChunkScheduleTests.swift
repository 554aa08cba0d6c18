import Testing

import Pipeline

struct ChunkScheduleTests {
  /// Runs a schedule in which whoever may work is chosen by `random`, and checks the rules at each turn.
  private func run(stages: Int, chunks: Int, depth: Int, seed: UInt64) throws {
    var schedule = ChunkSchedule(stages: stages, chunks: chunks, depth: depth)
    var atWork: [Int: Int] = [:]
    var state = seed
    func random(below limit: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % limit
    }
    var turns = 0
    while schedule.taken < chunks {
      turns += 1
      try #require(turns < 100 * stages * (chunks + 1))
      for stage in 0..<stages {
        guard let chunk = schedule.next(of: stage) else { continue }
        #expect(atWork[stage] == nil)
        #expect(chunk == schedule.begun[stage])
        if stage > 0 { #expect(schedule.done[stage - 1] > chunk) }
        schedule.begin(stage: stage)
        atWork[stage] = chunk
        if stage + 1 < stages {
          #expect(chunk + 1 - schedule.begun[stage + 1] <= depth)
        }
      }
      let canTake = schedule.done[stages - 1] > schedule.taken
      if canTake, atWork.isEmpty || random(below: 2) == 0 {
        schedule.take()
      } else {
        let stage = try #require(atWork.keys.sorted().randomElement(random))
        atWork[stage] = nil
        schedule.finish(stage: stage)
      }
    }
    #expect(schedule.done == Array(repeating: chunks, count: stages))
    #expect(!schedule.isBusy)
  }

  @Test(
    "every stage works on every chunk in order, however long each takes",
    arguments: [1, 2, 3, 8], [1, 2, 7])
  func order(stages: Int, chunks: Int) throws {
    for seed in 0..<20 {
      for depth in 1...3 {
        try run(stages: stages, chunks: chunks, depth: depth, seed: UInt64(seed))
      }
    }
  }
}

extension [Int] {
  fileprivate func randomElement(_ random: (Int) -> Int) -> Int? {
    isEmpty ? nil : self[random(count)]
  }
}
