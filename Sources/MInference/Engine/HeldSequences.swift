import Transformers

/// A sequence whose keys and values are in memory.
final class HeldSequence {
  let cache: KeyValueCache
  /// The ids at the cache's positions.
  var tokens: [Int32]
  /// How its prompts were read: another kind of attention gives other keys and values.
  let attention: AttentionOptions
  /// Larger for those used later.
  var lastUse = 0
  /// Whether all of it is on disk.
  var isStored = false

  init(cache: KeyValueCache, tokens: [Int32], attention: AttentionOptions) {
    self.cache = cache
    self.tokens = tokens
    self.attention = attention
  }

  /// Tokens that this sequence and a prompt begin with; at least the prompt's last is left to be read.
  func common(with prompt: [Int32]) -> Int {
    min(commonPrefix(tokens, prompt), prompt.count - 1)
  }
}

/// The number of ids with which both begin.
func commonPrefix(_ left: [Int32], _ right: [Int32]) -> Int {
  let count = min(left.count, right.count)
  return left.withUnsafeBufferPointer { left in
    right.withUnsafeBufferPointer { right in
      var index = 0
      while index < count, left[index] == right[index] { index += 1 }
      return index
    }
  }
}

/// Sequences that are kept for prompts that begin alike. The least recently used goes first.
///
/// Each is contiguous in memory and whole: two that begin alike hold their common prefix twice. Finding
/// the longest prefix compares the prompt with each of them, which ends at the first token that
/// differs.
struct HeldSequences {
  private(set) var all: [HeldSequence] = []
  private var clock = 0

  var count: Int { all.count }
  var byteCount: Int { all.reduce(0) { $0 + $1.cache.byteCount } }

  mutating func add(_ sequence: HeldSequence) {
    clock += 1
    sequence.lastUse = clock
    // What it begins with is of no further use.
    all.removeAll { other in
      other.attention == sequence.attention && other.tokens.count <= sequence.tokens.count
        && commonPrefix(other.tokens, sequence.tokens) == other.tokens.count
    }
    all.append(sequence)
  }

  mutating func remove(_ sequence: HeldSequence) { all.removeAll { $0 === sequence } }

  mutating func touch(_ sequence: HeldSequence) {
    clock += 1
    sequence.lastUse = clock
  }

  /// The sequence with which a prompt has most tokens in common; of equals, the one that loses least.
  func best(for prompt: [Int32], attention: AttentionOptions) -> (HeldSequence, common: Int)? {
    all.filter { $0.attention == attention }.map { ($0, common: $0.common(with: prompt)) }
      .filter { $0.common > 0 }
      .max { left, right in
        (left.common, -left.0.tokens.count, left.0.lastUse)
          < (right.common, -right.0.tokens.count, right.0.lastUse)
      }
  }

  /// The one that was used least recently, `kept` aside.
  func oldest(but kept: HeldSequence?) -> HeldSequence? {
    all.filter { $0 !== kept }.min { $0.lastUse < $1.lastUse }
  }

  /// The oldest of those that are not on disk and are long enough to go there.
  func unstored(atLeast tokens: Int) -> HeldSequence? {
    all.filter { !$0.isStored && $0.tokens.count >= tokens }.min { $0.lastUse < $1.lastUse }
  }
}
