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
    abstract: "Chooses the pattern of every head by measured recall and measured time.",
    discussion: """
      Reads each sample once with dense attention, measures what every candidate pattern would keep \
      of it, and solves for all heads together. Two samples to choose by and one to validate are a \
      good number; of three or more the last one validates unless --validate names another. \
      --residual-error weighs heads by what they do to the model; recall weighs them alike.

      Example: minference search --model DIR --samples a.txt b.txt c.txt --output patterns.json
      """)

  @OptionGroup var model: ModelArguments

  @Option(
    parsing: .upToNextOption,
    help: ArgumentHelp("UTF-8 texts to choose by.", valueName: "file"))
  var samples: [String]

  @Option(help: ArgumentHelp("The pattern file that is written.", valueName: "file"))
  var output: String

  @Option(
    parsing: .upToNextOption,
    help: ArgumentHelp("Texts that choose nothing and check the choice.", valueName: "file"))
  var validate: [String] = []

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
      "Candidates: \(CandidateSpace.known.map(\.name).joined(separator: ", ")).",
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
      valueName: "file"))
  var resume: String?

  mutating func run() throws {
    try checkOutput()
    let model = try LanguageModel(
      self.model.device.loadOptions(directory: self.model.model), progress: PreparationLine.show)
    TerminalLine.clear()
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
    let isLastKept = validate.isEmpty && samples.count >= 3
    let choosing = try (isLastKept ? samples.dropLast() : samples[...]).map { try read($0, model) }
    let validating = try (isLastKept ? samples.suffix(1) : validate[...]).map {
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
