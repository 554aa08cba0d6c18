import TextReports
import MInference

/// The most likely continuation.
extension ModelVerifier {
  static let continuedTokens = 64

  /// The reference continues; the device reads the same tokens and says what it would have chosen.
  func checkContinuation() {
    let room = device.contextLength - Self.continuedTokens
    guard room > 0 else { return }
    let prompt = Array(ids.prefix(room))
    // Logits within the tolerance let a choice differ only where two are closer than twice that.
    check("most likely continuation", tolerance) {
      let (tokens, wanted) = try continuation(of: prompt, on: reference, forced: nil)
      let (_, values) = try continuation(of: prompt, on: device, forced: tokens)
      return (values, wanted[...], note(tokens, wanted: wanted, found: values))
    }
  }

  /// - Parameter forced: What is read; nil: the most likely token each time.
  private func continuation(
    of prompt: [Int32], on model: Transformer, forced: [Int32]?
  ) throws -> (tokens: [Int32], logits: [Float]) {
    let cache = try model.makeCache(capacity: prompt.count + Self.continuedTokens)
    var tokens: [Int32] = []
    var all: [Float] = []
    var logits = try model.prefill(prompt, cache: cache).logits
    while true {
      all += logits
      tokens.append(forced?[tokens.count] ?? Self.mostLikely(logits[...]))
      guard tokens.count < Self.continuedTokens else { return (tokens, all) }
      if model.mustReadAgain(cache, adding: 1) {
        cache.truncate(to: 0)
        logits = try model.prefill(prompt + tokens, cache: cache).logits
      } else {
        logits = try model.decode(tokens[tokens.count - 1], cache: cache)
      }
    }
  }

  /// Whether the choices agree; where they first do not, by how much the reference preferred its own.
  private func note(_ tokens: [Int32], wanted: [Float], found: [Float]) -> String {
    var different = 0
    var first: String?
    for number in tokens.indices {
      let row = number * width..<(number + 1) * width
      let choice = Int(Self.mostLikely(found[row]))
      guard choice != Int(tokens[number]) else { continue }
      different += 1
      let values = wanted[row]
      let largest = values.reduce(0) { max($0, abs($1)) }
      let margin =
        (values[row.lowerBound + Int(tokens[number])] - values[row.lowerBound + choice]) / largest
      first =
        first
        ?? "the first is token \(number + 1), which the reference preferred by "
        + "\(Quantity.fixed(Double(margin), 6)) of the largest logit"
    }
    guard let first else { return "\(tokens.count) of \(tokens.count) tokens the same" }
    return "\(tokens.count - different) of \(tokens.count) tokens the same; \(first)"
  }

  static func mostLikely(_ logits: ArraySlice<Float>) -> Int32 {
    var best = logits.startIndex
    for index in logits.indices where logits[index] > logits[best] { best = index }
    return Int32(best - logits.startIndex)
  }
}
