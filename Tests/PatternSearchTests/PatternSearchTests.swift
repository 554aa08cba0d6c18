import Compute
import Files
import PatternSearch
import SparseAttention
import Synchronization
import Testing
import Transformers

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

@Suite struct PatternSearchTests {
  private let space = CandidateSpace(
    name: "test",
    patterns: [
      .aShape(sink: 16, local: 64), .aShape(sink: 16, local: 256),
      .verticalSlash(vertical: 40, slash: 100), .blockSparse(topK: 4),
    ])
  private let samples = [
    SearchSample(name: "a", ids: TemporaryModel.ids(500)),
    SearchSample(name: "b", ids: TemporaryModel.ids(600, seed: 6)),
  ]

  private func options(
    workFile: String? = nil, stopAfter: Int = .max, steps: Counter = Counter()
  ) -> SearchOptions {
    SearchOptions(
      space: space, objective: .everyHead(RecallFloor(mean: 0.6, tenthPercentile: 0.3)),
      denseBelow: 0, calibrationLengths: [128, 256], workFile: workFile,
      progress: { progress in
        guard progress.stage != "calibration" else { return }
        if steps.increment() > stopAfter { throw CancellationError() }
      })
  }

  @Test func `Every head keeps the floor in every sample, at the least predicted time`() throws {
    let model = try TemporaryModel().load()
    let result = try PatternSearch(model: model, fingerprint: "x", options: options()).run(samples)
    #expect(result.layers == 3 && result.heads == 4 && result.samples.count == 2)
    for layer in 0..<3 {
      for head in 0..<4 {
        let chosen = result.chosen(layer: layer, head: head)
        let measured = result.measured(layer: layer, head: head)
        #expect(measured.allSatisfy { $0.recall >= 0.6 && $0.tenthPercentile >= 0.3 })
        let all = result.options[layer * 4 + head].options
        for (other, option) in all.enumerated()
        where option.recall >= 0.6 && option.tenthPercentile >= 0.3 && other != chosen {
          #expect(option.seconds >= all[chosen].seconds)
        }
      }
    }
    #expect(result.density > 0 && result.density <= 1)
  }

  @Test func `A cap on output error holds for every head, in every sample`() throws {
    let model = try TemporaryModel().load()
    var options = options()
    let uncapped = try PatternSearch(model: model, fingerprint: "x", options: options).run(samples)
    let worst = try #require(uncapped.choice.worstOutputError)
    let cap = worst / 2
    options.objective = .everyHead(
      RecallFloor(mean: 0.6, tenthPercentile: 0.3, outputError: cap))
    let capped = try PatternSearch(model: model, fingerprint: "x", options: options).run(samples)
    #expect(worst > 0.01 && (capped.choice.worstOutputError ?? 1) <= cap)
    for layer in 0..<3 {
      for head in 0..<4 where capped.patterns[capped.chosen(layer: layer, head: head)] != .dense {
        let errors = capped.measured(layer: layer, head: head).map(\.outputError)
        #expect(errors.contains { $0 != nil } && errors.allSatisfy { $0 ?? 0 <= cap })
      }
    }
    #expect(capped.choice.meanRecall >= uncapped.choice.meanRecall)
  }

  @Test func `An interrupted search goes on at its layer and finds the same`() throws {
    let temporary = try TemporaryModel()
    let model = try temporary.load()
    let file = temporary.directory + "/work.jsonl"
    // Ends in the second layer of the second sample.
    #expect(throws: CancellationError.self) {
      try PatternSearch(
        model: model, fingerprint: "x", options: options(workFile: file, stopAfter: 4)
      ).run(samples)
    }
    // A line that was half written.
    var text = try String(contentsOf: URL(filePath: file), encoding: .utf8)
    text += "{\"checksum\":\"0123456789abcdef\",\"entry\":{\"layer"
    try text.write(toFile: file, atomically: true, encoding: .utf8)
    let steps = Counter()
    let resumed = try PatternSearch(
      model: model, fingerprint: "x", options: options(workFile: file, steps: steps)
    ).run(samples)
    #expect(steps.value == 1)
    // Which columns make up a tile depends on measured times: the whole search gets the same ones.
    let costs = temporary.directory + "/costs.jsonl"
    let measured = text.split(separator: "\n").prefix(2).joined(separator: "\n") + "\n"
    try measured.write(toFile: costs, atomically: true, encoding: .utf8)
    let unbroken = Counter()
    let whole = try PatternSearch(
      model: model, fingerprint: "x", options: options(workFile: costs, steps: unbroken)
    ).run(samples)
    #expect(unbroken.value > 1)
    func facts(_ result: SearchResult) -> [IndexWork: Double] {
      let all = result.samples.flatMap { $0.layers.joined().joined() }
      return Dictionary(all.map { ($0.work, $0.recall) }) { $0 + $1 }
    }
    let isEqual = facts(resumed) == facts(whole)
    #expect(isEqual)
    let again = try PatternSearch(
      model: model, fingerprint: "x", options: options(workFile: file)
    ).run(samples)
    #expect(again.choice == resumed.choice)
  }

  @Test func `The cost counts every phase, and is not told of results that were found`() throws {
    let temporary = try TemporaryModel()
    let model = try temporary.load()
    let file = temporary.directory + "/work.jsonl"
    let search = PatternSearch(model: model, fingerprint: "x", options: options(workFile: file))
    let result = try search.run(samples)
    let validation = try search.validate(
      result, on: SearchSample(name: "c", ids: TemporaryModel.ids(600, seed: 9)))
    let cost = try #require(result.cost(validations: [validation]))
    #expect(cost.dense > 0 && cost.calibrating > 0 && cost.measuring > 0)
    #expect(cost.validating >= validation.seconds && cost.validating > 0)
    // The second sample is as long as the text that validates.
    #expect(abs(cost.allTextsDense - cost.dense - result.samples[1].denseSeconds) < 1e-9)
    let all = cost.dense + cost.calibrating + cost.measuring + cost.validating
    #expect(abs(cost.passes * cost.allTextsDense - all) < 1e-9)
    let other = try search.validate(
      result, on: SearchSample(name: "d", ids: TemporaryModel.ids(300)))
    #expect(result.cost(validations: [other]) == nil)
    #expect(try search.run(samples).cost(validations: []) == nil)
  }

  @Test func `A sum of residual errors is kept, and saves time where much may be lost`() throws {
    let model = try TemporaryModel().load()
    func choice(_ bound: Double) throws -> Choice {
      var options = options()
      options.objective = .sumOfErrors(bound, floor: RecallFloor(mean: 0, tenthPercentile: 0))
      return try PatternSearch(model: model, fingerprint: "x", options: options).run(samples).choice
    }
    let (little, much) = (try choice(0.05), try choice(1e9))
    #expect(little.residualError <= 0.05 + 1e-9 && much.residualError > 0.05)
    #expect(much.seconds < little.seconds)
  }

  @Test func `A work file of another search is refused with what differs`() throws {
    let temporary = try TemporaryModel()
    let model = try temporary.load()
    let file = temporary.directory + "/work.jsonl"
    _ = try PatternSearch(
      model: model, fingerprint: "x", options: options(workFile: file)
    ).run([samples[0]])
    func failure(_ fingerprint: String, _ samples: [SearchSample]) -> SearchError? {
      #expect(throws: SearchError.self) {
        try PatternSearch(
          model: model, fingerprint: fingerprint, options: options(workFile: file)
        ).run(samples)
      }
    }
    #expect(failure("y", [samples[0]]) == .foreignWorkFile(file: file, what: "model"))
    #expect(failure("x", samples) == .foreignWorkFile(file: file, what: "samples or lengths"))
    try "not a work file".write(toFile: file, atomically: true, encoding: .utf8)
    #expect(
      failure("x", [samples[0]])?.description
        == "\(file): is no work file of a search; use another work file")
    #expect(try String(contentsOf: URL(filePath: file), encoding: .utf8) == "not a work file")
  }

  @Test func `A work file loses nothing when it is damaged, in use or cannot be read`() throws {
    let temporary = try TemporaryModel()
    let model = try temporary.load()
    let file = temporary.directory + "/work.jsonl"
    let steps = Counter()
    func run() throws -> SearchResult {
      try PatternSearch(
        model: model, fingerprint: "x", options: options(workFile: file, steps: steps)
      ).run([samples[0]])
    }
    // What was interrupted within its first line is begun anew.
    try "{\"checksum\":\"01".write(toFile: file, atomically: true, encoding: .utf8)
    let whole = try run()
    let measured = steps.value
    let text = try String(contentsOf: URL(filePath: file), encoding: .utf8)
    // Another system's ends of lines are read.
    let carried = text.split(separator: "\n").joined(separator: "\r\n") + "\r\n"
    try carried.write(toFile: file, atomically: true, encoding: .utf8)
    #expect(try run().choice == whole.choice)
    #expect(try String(contentsOf: URL(filePath: file), encoding: .utf8) == carried)
    // A layer in the middle: it is measured again, behind the others, and no line goes.
    var lines = text.split(separator: "\n").map(String.init)
    lines[3] = String(lines[3].dropLast(20))
    let damaged = lines.joined(separator: "\n") + "\n"
    try damaged.write(toFile: file, atomically: true, encoding: .utf8)
    #expect(try run().choice == whole.choice)
    #expect(steps.value > measured)
    let repaired = try String(contentsOf: URL(filePath: file), encoding: .utf8)
    #expect(repaired.hasPrefix(damaged) && repaired.utf8.count > damaged.utf8.count)
    do {
      let other = try AppendedFile(path: file)
      let error = #expect(throws: SearchError.self) { try run() }
      #expect(error?.description.contains("by another search at this moment") == true)
      withExtendedLifetime(other) {}
    }
    #expect(throws: SearchError.self) {
      try PatternSearch(
        model: model, fingerprint: "x", options: options(workFile: temporary.directory)
      ).run([samples[0]])
    }
    #expect(try String(contentsOf: URL(filePath: file), encoding: .utf8) == repaired)
  }

  @Test func `Samples that are too short to estimate from are refused`() throws {
    let model = try TemporaryModel().load()
    let search = PatternSearch(model: model, fingerprint: "x", options: options())
    #expect(throws: SearchError.noSamples) { try search.run([]) }
    #expect(throws: SearchError.sampleTooShort(name: "a", tokens: 63, wanted: 64)) {
      try search.run([SearchSample(name: "a", ids: TemporaryModel.ids(63))])
    }
  }

  @Test func `A walk over the layers ends where prefill ends, also when it goes on in between`()
    throws
  {
    let model = try TemporaryModel().load()
    let ids = TemporaryModel.ids(200)
    var whole = try LayerWalk(model, ids: ids, rowBlock: 64)
    while whole.layer < model.layerCount { try whole.advance { _ in } }
    var first = try LayerWalk(model, ids: ids)
    try first.advance { _ in }
    var second = try LayerWalk(model, ids: ids)
    try second.resume(atLayer: 1, hidden: try first.hiddenStates())
    while second.layer < model.layerCount { try second.advance { _ in } }
    let prefill = try model.prefill(ids, cache: try model.makeCache(capacity: 200))
    for walk in [whole, second] {
      let logits = try walk.lastLogits()
      #expect(zip(logits, prefill.logits).allSatisfy { abs($0 - $1) < 1e-3 })
    }
  }
}

/// Counts from several threads.
final class Counter: Sendable {
  private let count = Mutex(0)
  var value: Int { count.withLock { $0 } }
  func increment() -> Int {
    count.withLock {
      $0 += 1
      return $0
    }
  }
}
