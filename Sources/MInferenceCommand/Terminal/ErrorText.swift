import EvaluationTasks
import MInference
import PatternSearch

/// What the command says about an error: settings of its remedy are flags.
enum ErrorText {
  static func of(_ error: any Error) -> String {
    // Budgets have their flags' names.
    if case PatternError.budget = error { return "--\(error)" }
    guard let error = error as? any RemediedError else { return "\(error)" }
    return error.description { flags[$0] ?? $0.words }
  }

  private static let flags: [Remedy.Setting: String] = [
    .smallerChunk: "a smaller --chunk",
    .float32KeyValues: "--kv f32",
    .bfloat16KeyValues: "--kv bf16",
    .float8KeyValues: "--kv fp8",
    .savedKeyValues: "--kv with the saved format",
    .keyValuesOnHost: "--kv-on host",
    .processor: "--device cpu",
    .gpu: "--device cuda",
    .bfloat16Linear: "--linear bf16",
    .nativeAttention: "--attention-precision native",
    .otherThreads: "another number of --threads",
    .moreSeconds: "more --seconds",
    .lowerTenthPercentile: "a lower --tenth-percentile",
    .smallerLengths: "smaller --lengths",
    .samples: "--samples with at least one file",
    .otherWorkFile: "another --resume file",
    .meanRecall: "--mean-recall",
    .largerLength: "a larger --length",
    .smallerLength: "a smaller --length",
    .longerDocument: "--prompt-file with a longer text",
    .longerEvaluationText: "a longer --text",
    .smallerPromptLengths: "smaller --lengths",
    .largerPromptLengths: "larger --lengths",
    .runMethods: "--attention with a kind that the run was made with",
    .squadFile: "--squad FILE for qa_1",
    .hotpotFile: "--hotpotqa FILE for qa_2",
    .books: "--books FILE...",
    .codeFolder: "--code DIR",
  ]
}
