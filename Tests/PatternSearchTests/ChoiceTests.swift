import PatternSearch
import Testing

/// A few heads with random options, dense first.
private func randomHeads(_ count: Int, options: Int, seed: UInt64) -> [HeadOptions] {
  var random = TestRandom(seed: seed)
  return (0..<count).map { _ in
    let dense = HeadOption(
      seconds: Double.random(in: 0.5...2, using: &random), recall: 1, tenthPercentile: 1)
    let rest = (1..<options).map { _ in
      HeadOption(
        seconds: Double.random(in: 0.05...1.5, using: &random),
        recall: Double.random(in: 0.3...1, using: &random),
        tenthPercentile: Double.random(in: 0.2...1, using: &random),
        residualError: Double.random(in: 0...0.1, using: &random))
    }
    return HeadOptions([dense] + rest)
  }
}

/// Every way to choose one option a head.
private func allChoices(_ heads: [HeadOptions]) -> [[HeadOption]] {
  heads.reduce([[]]) { choices, head in
    choices.flatMap { choice in head.options.map { choice + [$0] } }
  }
}

private func seconds(_ options: [HeadOption]) -> Double { options.reduce(0) { $0 + $1.seconds } }

private func mean(_ options: [HeadOption]) -> Double {
  options.reduce(0) { $0 + $1.recall } / Double(options.count)
}

@Suite struct ChoiceTests {
  @Test(arguments: UInt64(0)..<20)
  func `The least time with a floor for every head is that of brute force`(seed: UInt64) throws {
    let heads = randomHeads(4, options: 5, seed: seed)
    let floor = RecallFloor(mean: 0.7, tenthPercentile: 0.5)
    let choice = try Choice.best(of: heads, for: .everyHead(floor))
    let best = allChoices(heads).filter { choice in
      choice.allSatisfy { $0.recall >= 0.7 && $0.tenthPercentile >= 0.5 }
    }.map(seconds).min()
    #expect(abs(choice.seconds - (best ?? 0)) < 1e-12)
    #expect(choice.worstRecall >= 0.7)
  }

  @Test(arguments: UInt64(0)..<20)
  func `The best worst head within a time is that of brute force`(seed: UInt64) throws {
    let heads = randomHeads(4, options: 5, seed: seed)
    let budget = 2.2
    let feasible = allChoices(heads).filter { choice in
      choice.allSatisfy { $0.tenthPercentile >= 0.25 } && seconds(choice) <= budget
    }
    let objective = SearchObjective.withinSeconds(budget, tenthPercentile: 0.25)
    guard !feasible.isEmpty else {
      #expect(throws: SearchError.self) { try Choice.best(of: heads, for: objective) }
      return
    }
    let choice = try Choice.best(of: heads, for: objective)
    let best = feasible.compactMap { $0.map(\.recall).min() }.max()
    #expect(choice.worstRecall == best)
    #expect(choice.seconds <= budget)
  }

  @Test(arguments: UInt64(0)..<40)
  func `A mean over heads is reached at brute force's time or one step more`(seed: UInt64) throws {
    let heads = randomHeads(5, options: 5, seed: seed)
    let floor = RecallFloor(mean: 0.4, tenthPercentile: 0)
    let choice = try Choice.best(of: heads, for: .meanOverHeads(0.9, floor: floor))
    let best =
      allChoices(heads).filter { choice in
        choice.allSatisfy { $0.recall >= 0.4 } && mean(choice) >= 0.9
      }.map(seconds).min() ?? 0
    let step = heads.flatMap(\.options).map(\.seconds).max() ?? 0
    #expect(choice.meanRecall >= 0.9 - 1e-9)
    #expect(choice.worstRecall >= 0.4)
    #expect(choice.seconds >= best - 1e-9)
    #expect(choice.seconds <= best + step)
  }

  @Test(arguments: UInt64(0)..<40)
  func `A sum of residual errors is kept at brute force's time or one step more`(
    seed: UInt64
  ) throws {
    let heads = randomHeads(5, options: 5, seed: seed)
    let floor = RecallFloor(mean: 0.4, tenthPercentile: 0)
    let choice = try Choice.best(of: heads, for: .sumOfErrors(0.1, floor: floor))
    let feasible = allChoices(heads).filter { choice in
      choice.allSatisfy { $0.recall >= 0.4 } && choice.reduce(0) { $0 + $1.residualError } <= 0.1
    }
    let best = feasible.map(seconds).min() ?? 0
    let step = heads.flatMap(\.options).map(\.seconds).max() ?? 0
    #expect(choice.residualError <= 0.1 + 1e-9)
    #expect(choice.worstRecall >= 0.4)
    #expect(choice.seconds >= best - 1e-9 && choice.seconds <= best + step)
  }

  @Test func `No residual error allowed leaves every head that has one dense`() throws {
    let dense = HeadOption(seconds: 1, recall: 1, tenthPercentile: 1)
    let heads = [
      HeadOptions([
        dense, HeadOption(seconds: 0.1, recall: 0.9, tenthPercentile: 0.9, residualError: 0.001),
      ]),
      HeadOptions([
        dense, HeadOption(seconds: 0.1, recall: 0.2, tenthPercentile: 0.1, residualError: 0),
      ]),
    ]
    let none = RecallFloor(mean: 0, tenthPercentile: 0)
    #expect(try Choice.best(of: heads, for: .sumOfErrors(0, floor: none)).options == [0, 1])
    #expect(try Choice.best(of: heads, for: .sumOfErrors(0.001, floor: none)).options == [1, 1])
    let guarded = try Choice.best(of: heads, for: .sumOfErrors(0.001, floor: RecallFloor()))
    #expect(guarded.options == [0, 0] && guarded.unreachable == [0, 1])
  }

  @Test func `Over many instances the mean objective is within three percent of the optimum`()
    throws
  {
    var (found, optimal) = (0.0, 0.0)
    for seed in UInt64(100)..<160 {
      let heads = randomHeads(5, options: 5, seed: seed)
      let floor = RecallFloor(mean: 0, tenthPercentile: 0)
      found += try Choice.best(of: heads, for: .meanOverHeads(0.85, floor: floor)).seconds
      optimal += allChoices(heads).filter { mean($0) >= 0.85 }.map(seconds).min() ?? 0
    }
    #expect(found <= 1.03 * optimal)
  }

  @Test func `An output error above the cap is not chosen, and neither is one unmeasured`() throws {
    let dense = HeadOption(seconds: 1, recall: 1, tenthPercentile: 1, outputError: 0)
    func option(_ seconds: Double, _ recall: Double, _ error: Double?) -> HeadOption {
      HeadOption(seconds: seconds, recall: recall, tenthPercentile: 0.9, outputError: error)
    }
    let heads = [
      HeadOptions([dense, option(0.1, 0.96, 0.36), option(0.3, 0.97, 0.1)]),
      HeadOptions([dense, option(0.1, 0.99, nil)]),
      HeadOptions([dense, option(0.1, 0.99, 0.5)]),
    ]
    let floor = RecallFloor(outputError: 0.2)
    for objective in [
      SearchObjective.everyHead(floor), .meanOverHeads(0.96, floor: floor),
      .withinSeconds(2.5, tenthPercentile: 0.8, outputError: 0.2),
    ] {
      let choice = try Choice.best(of: heads, for: objective)
      #expect(choice.options == [2, 0, 0])
      #expect(choice.worstOutputError == 0.1)
    }
    let uncapped = try Choice.best(of: heads, for: .everyHead(RecallFloor()))
    #expect(uncapped.options == [1, 1, 1] && uncapped.worstOutputError == 0.5)
    #expect(try Choice.best(of: heads, for: .everyHead(floor)).unreachable == [1, 2])
  }

  @Test func `Heads that only dense can serve are named, cheap dense heads are not`() throws {
    let dense = HeadOption(seconds: 1, recall: 1, tenthPercentile: 1)
    let heads = [
      HeadOptions([dense, HeadOption(seconds: 0.1, recall: 0.6, tenthPercentile: 0.9)]),
      HeadOptions([dense, HeadOption(seconds: 1.2, recall: 0.99, tenthPercentile: 0.9)]),
      HeadOptions([dense, HeadOption(seconds: 0.2, recall: 0.97, tenthPercentile: 0.9)]),
      HeadOptions([dense, HeadOption(seconds: 0.2, recall: 0.97, tenthPercentile: 0.7)]),
    ]
    let choice = try Choice.best(of: heads, for: .everyHead(RecallFloor()))
    #expect(choice.options == [0, 0, 1, 0])
    #expect(choice.unreachable == [0, 3])
  }
}

/// A generator with a seed.
struct TestRandom: RandomNumberGenerator {
  var state: UInt64

  init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1 }

  mutating func next() -> UInt64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return state &* 0x2545_F491_4F6C_DD1D
  }
}
