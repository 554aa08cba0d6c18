import ArgumentParser
import EvaluationTasks
import MInference

/// `minference evaluate tasks`: tasks that are made from a seed.
struct EvaluateTasksCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tasks",
    abstract:
      "Generated tasks that tell selections apart: graphs, lists, facts that resemble others.",
    discussion: """
      graph_bfs and graph_parents are GraphWalks (F1 of sets of nodes), confusable_facts asks for one of \
      many facts of one form, repeated_requests for the k-th answer to a request (MRCR), latent_list \
      for what a list holds after operations, word_problem is GSM-infinity's form, number_find the \
      largest or smallest number of a list, second_question asks in a second turn for what the first \
      question never touched. Our own wording, the published scores. Prompt and answer have exactly \
      the length asked for.

      Example: minference evaluate tasks --model DIR --kinds graph_parents,second_question \
      --lengths 8K,32K --prompts 25 --attention dense,minference
      """)

  @OptionGroup var shared: EvaluateArguments
  @OptionGroup var form: TaskFormArguments

  @Option(
    name: [.customLong("kinds"), .customLong("task"), .customLong("tasks")],
    help: ArgumentHelp(
      "Kinds, separated by commas, or all: "
        + "\(GeneratedKind.allCases.map(\.rawValue).joined(separator: ", ")).", valueName: "kind"),
    completion: .list(GeneratedKind.allCases.map(\.rawValue) + ["all"]),
    transform: { text in
      try GeneratedKind.named(
        text.split(separator: ",", omittingEmptySubsequences: false).map(String.init))
    })
  var kinds: [GeneratedKind] = GeneratedKind.allCases

  @OptionGroup var sample: TaskSampleArguments

  mutating func run() async throws {
    let haystack = try sample.source.haystack()
    let model = try await shared.load()
    let lengths = try sample.length.usable(by: model)
    let suite = GeneratedTask(
      kinds: kinds, lengths: lengths.values, prompts: sample.prompts.value,
      seed: sample.source.seed, haystack: haystack)
    let runner = LanguageModelRunner(
      model,
      methods: try shared.methods(
        for: model, length: lengths.longest, measuringRecall: form.monitor),
      form: form.form(of: model))
    try await shared.evaluate(
      shared.fitting(suite.plans, on: runner), on: runner,
      run: shared.run(
        "tasks", sample.source.run + [(name: "form", value: form.description)]))
    try lengths.finish()
  }
}
