import ArgumentParser
import Files
import MInference
import PatternSearch

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// `minference search`: the pattern of every head, chosen by measured recall and time.
///
/// Runs on the main thread: a search computes for minutes, and Swift's cooperative pool is not for
/// that.
struct SearchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "search",
    abstract: "Chooses the pattern of every head by what the model loses and the time it takes.",
    discussion: """
      --kl, --perplexity-ratio or --time states the goal. Texts and generated retrieval prompts are read \
      on the device that will run the patterns: densely once, then with rules for all heads, then with \
      heads that differ, until the goal is kept at the least time; the choice is then read on samples \
      that chose nothing. All of it takes at most 3 dense passes of the samples on a GPU and 1.5 on a \
      processor (--passes). Without --samples the texts are the demo's chronicle. Of two texts or more \
      the last one validates unless --validate names others; of a single one its end does.

      --recall, --mean-recall, --seconds, --output-error and --residual-error choose by what each head \
      keeps of its attention instead, measured on the host; they need --samples. Recall says little of \
      what a model loses, and on a GPU they take hundreds of passes.

      Example: minference search --model DIR --samples a.txt b.txt c.txt --output patterns.json
      """)

  @OptionGroup var model: ModelArguments

  @Option(
    name: [.customLong("samples"), .customLong("text")], parsing: .upToNextOption,
    help: ArgumentHelp(
      "UTF-8 texts to choose by; the demo's chronicle if none is given.", valueName: "file"),
    completion: .file())
  var samples: [String] = []

  @Option(
    help: ArgumentHelp("The pattern file that is written.", valueName: "file"), completion: .file())
  var output: String

  @Option(
    name: .customLong("validate"), parsing: .upToNextOption,
    help: ArgumentHelp("Texts that choose nothing and check the choice.", valueName: "file"),
    completion: .file())
  var validating: [String] = []

  @Option(
    help: ArgumentHelp(
      "Tokens of each text to use, separated by commas; 32K, or what the shortest text has.",
      valueName: "n,..."),
    transform: { text in
      try text.split(separator: ",", omittingEmptySubsequences: false).map {
        try Size.parsed(String($0), atLeast: 4096).value
      }
    })
  var lengths: [Int] = []

  @Option(
    help: ArgumentHelp(
      "Longer lengths at which the choice is checked, beside the passes of the search.",
      valueName: "n,..."),
    transform: { text in try List.parsed(text) { try Size.parsed($0, atLeast: 4096).value } })
  var validateLengths: [Int] = []

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Generated retrieval prompts of each length, to choose by and to validate.",
      valueName: "n"),
    transform: { try Size.parsed($0, atLeast: 0) })
  var prompts = Size(value: 1)

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Positions of each text whose next-token distributions are compared; 1,024, on a GPU 4,096.",
      valueName: "n"),
    transform: { try Size.parsed($0, atLeast: 16) })
  var positions: Size?

  @Option(
    help: ArgumentHelp(
      "The most that the search may take, in dense passes of its samples; 3, on a processor 1.5.",
      valueName: "n"),
    transform: { try Number.parsed($0, in: 1...1e6, allowed: "a number of at least 1") })
  var passes: Double?

  @Option(
    help: ArgumentHelp(
      "Candidates of goals by heads: \(CandidateSpace.known.map(\.name).joined(separator: ", ")).",
      valueName: "space"),
    transform: { text in
      guard let space = CandidateSpace.known.first(where: { $0.name == text }) else {
        throw ValidationError(
          "\"\(text)\" is not known; give "
            + CandidateSpace.known.map(\.name).joined(separator: " or "))
      }
      return space
    })
  var space: CandidateSpace = .standard

  @OptionGroup var goal: SearchGoalArguments

  @Option(help: ArgumentHelp("The file's layout: minference or upstream.", valueName: "format"))
  var format: PatternFormat = .minference

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Tokens of a prompt read at once when the patterns are used; all of them if not given.",
      valueName: "n"),
    transform: { try Size.parsed($0, atLeast: 64) })
  var chunk: Size?

  @Option(
    help: ArgumentHelp(
      "Keeps results layer by layer; a search that was interrupted goes on from it.",
      valueName: "file"), completion: .file())
  var resume: String?

  func validate() throws {
    if goal.goal != nil {
      if space.name != CandidateSpace.standard.name {
        throw ValidationError("--space is for goals by heads; leave it out, or give --recall")
      }
    } else {
      let unused = [
        samples.isEmpty ? "" : nil, validateLengths.isEmpty ? nil : "--validate-lengths",
        positions.map { _ in "--positions" }, passes.map { _ in "--passes" },
      ].compactMap { $0 }
      if let flag = unused.first {
        throw ValidationError(
          flag.isEmpty
            ? "a goal by heads needs texts; give --samples FILE"
            : "\(flag) is for --kl, --perplexity-ratio and --time; leave it out")
      }
    }
  }

  mutating func run() throws {
    try model.device.requireOneProcess()
    try checkOutput()
    let model = try LanguageModel(
      self.model.device.loadOptions(directory: self.model.model),
      progress: PreparationLine.showWeights)
    TerminalLine.clear()
    if let goal = goal.goal { return try searchByLoss(goal, model) }
    let (choosing, validating) = try texts(of: model)
    let progress = ProgressLine(label: "search", notices: model.notices)
    let search = PatternSearch(
      model: model.transformer,
      fingerprint: model.weightFingerprint,
      options: SearchOptions(
        space: candidates, objective: goal.objective, chunk: chunk?.value, workFile: resume,
        progress: { progress.update(fraction: $0.fraction, totalTokens: $0.tokens) }))
    let result = try search.run(choosing)
    progress.finish()
    if let calibration = result.calibration {
      StandardError.write(SearchReportText.calibration(calibration))
    }
    let validations = try validating.map { text in
      let progress = ProgressLine(label: "validate", notices: [])
      defer { progress.finish() }
      var search = search
      search.options.progress = { step in
        progress.update(fraction: step.fraction, totalTokens: step.tokens)
      }
      return try search.validate(result, on: text)
    }
    let configuration = result.configuration(
      model: name, fingerprint: search.fingerprint, device: model.transformer.backend.name,
      validations: validations)
    switch format {
    case .minference: try configuration.write(toFile: output)
    case .upstream:
      try configuration.writeUpstream(toFile: output, contextLength: model.contextLength)
    }
    try StandardOutput.write(SearchReportText.report(result, validations: validations))
  }

  /// The search by what the model loses.
  private func searchByLoss(_ goal: SearchGoal, _ model: LanguageModel) throws {
    let plan = GoalSamplePlan(
      texts: samples, validating: validating, lengths: lengths, prompts: prompts.value,
      positions: positions?.value
        ?? (model.transformer.backend.capabilities.buildsIndices ? 4096 : 1024))
    let found = try plan.samples(for: model)
    let beyond = try plan.validatingSamples(at: validateLengths, for: model)
    let progress = StageProgress(notices: model.notices)
    defer { progress.finish() }
    let candidates = Selectors.searchCandidates.filter {
      format == .minference || $0.isKnownUpstream
    }
    let search = GoalSearch(
      model: model.transformer,
      fingerprint: model.weightFingerprint,
      options: GoalSearchOptions(
        goal: goal, candidates: candidates, passes: passes, chunk: chunk?.value, workFile: resume,
        progress: { progress.update($0, fraction: $1, tokens: $2) }))
    var result = try search.run(found)
    var costBeyond: (dense: Double, sparse: Double)?
    if !beyond.isEmpty {
      let (figures, dense, sparse) = try search.validate(result, on: beyond)
      result.validatedBeyond = figures
      costBeyond = (dense, sparse)
    }
    progress.finish()
    let configuration = result.configuration(
      model: name, fingerprint: search.fingerprint, device: model.transformer.backend.name)
    switch format {
    case .minference: try configuration.write(toFile: output)
    case .upstream:
      try configuration.writeUpstream(toFile: output, contextLength: model.contextLength)
    }
    try StandardOutput.write(GoalReportText.report(result, beyond: costBeyond))
  }

  /// Minutes of measuring should not end at a directory that was never there.
  private func checkOutput() throws {
    do {
      try FileReplacement.check(output)
    } catch {
      throw CommandFailure(
        .cannotCreate, "\(output): cannot be created (\(error.reason)); name another file")
    }
  }

  /// The candidates that the wanted layout can say.
  private var candidates: CandidateSpace {
    guard format == .upstream else { return space }
    return CandidateSpace(
      name: space.name, patterns: space.patterns.filter(\.isKnownUpstream))
  }

  /// The last part of the model's path.
  private var name: String {
    model.model.split(separator: "/").last.map(String.init) ?? model.model
  }

  /// The samples that choose, and those that validate, each at every length.
  private func texts(
    of model: LanguageModel
  ) throws -> (choosing: [SearchSample], validating: [SearchSample]) {
    let isLastKept = self.validating.isEmpty && samples.count >= 3
    let choosing = try (isLastKept ? samples.dropLast() : samples[...]).map { try read($0, model) }
    let validating = try (isLastKept ? samples.suffix(1) : self.validating[...]).map {
      try read($0, model)
    }
    let shortest = (choosing + validating).map(\.ids.count).min() ?? 0
    let wanted = lengths.isEmpty ? [min(32768, shortest, model.contextLength)] : lengths
    func cut(_ text: SearchSample) throws -> [SearchSample] {
      try wanted.map { length in
        guard length <= model.contextLength else {
          throw CommandFailure(
            .usage,
            "--lengths: \(length) is more than the model's context of \(model.contextLength); "
              + "give less")
        }
        guard text.ids.count >= length, length >= 4096 else {
          throw SearchError.sampleTooShort(
            name: text.name, tokens: text.ids.count, wanted: max(length, 4096))
        }
        return SearchSample(name: text.name, ids: Array(text.ids.prefix(length)))
      }
    }
    return (try choosing.flatMap(cut), try validating.flatMap(cut))
  }

  private func read(_ path: String, _ model: LanguageModel) throws -> SearchSample {
    SearchSample(name: path, ids: model.tokenizer.encode(try InputText.read(path: path)))
  }
}
