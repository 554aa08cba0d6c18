import MInference
import Testing
import Transformers

/// Asks an engine, or a session for comparison.
struct Asker: Sendable {
  let model: LanguageModel

  func text(_ number: Int, length: Int = 300) -> String {
    let words = ["map", "chest", "cart", "lantern", "river", "stone", "ship", "door"]
    var state = UInt64(number + 1)
    var text = ""
    while text.utf8.count < length {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      text += words[Int(state >> 60) % words.count] + " "
    }
    return text
  }

  struct Answer: Equatable {
    var ids: [Int32] = []
    var text = ""
    var cached = 0
    var finish: GenerationMetrics.Finish?
    var progress: [PromptProgress] = []
  }

  func answer(_ engine: Engine, _ request: AnswerRequest) async throws -> Answer {
    var answer = Answer()
    for try await event in try engine.submit(request) {
      switch event {
      case .progress(let progress): answer.progress.append(progress)
      case .token(let token):
        answer.ids.append(token.id)
        answer.text += token.text
      case .finished(let summary):
        answer.text += summary.text
        answer.cached = summary.cachedTokens
        answer.finish = summary.finish
        #expect(summary.completionTokens == answer.ids.count)
        #expect(summary.promptTokens == request.prompt.count)
      }
    }
    return answer
  }

  /// The answer of a model that does nothing else.
  func single(
    _ prompt: [Int32], tokens: Int, sampling: SamplingOptions? = nil,
    stopIDs: Set<Int32> = [258], isDense: Bool = false
  ) throws -> String {
    let transformer = model.transformer
    let cache = try transformer.makeCache(capacity: prompt.count + tokens + 1)
    let planner = try model.planner(for: AttentionOptions(mode: isDense ? .dense : .minference))
    let logits = try transformer.prefill(
      prompt, cache: cache, options: PrefillOptions(planner: planner, lastLayerLastRowOnly: true)
    ).deviceLogits
    let generator = TokenGenerator(
      model: transformer, cache: cache, logits: logits, prompt: prompt,
      sampler: try Sampler(sampling ?? model.defaultSampling), stopIDs: stopIDs,
      maximumTokens: tokens)
    var decoder = model.tokenizer.makeStreamingDecoder()
    var text = ""
    while let id = try generator.next() { text += decoder.push(id) }
    return text + decoder.finish()
  }
}
