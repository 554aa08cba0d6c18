#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The distribution that logits stand for.
struct LogProbabilities {
  private let logits: [Float]
  /// Natural logarithm of the sum of the exponentials.
  private let logSum: Float

  init(logits: [Float]) {
    self.logits = logits
    let largest = logits.max() ?? 0
    var sum = 0.0
    for logit in logits { sum += Double(expf(logit - largest)) }
    logSum = largest + Float(log(sum))
  }

  /// Natural logarithm of the probability of an id.
  func value(of id: Int32) -> Float { logits[Int(id)] - logSum }

  /// The likeliest ids in order; of equals the lower first.
  func likeliest(_ count: Int) -> [(id: Int32, value: Float)] {
    guard count > 0 else { return [] }
    var best: [Int] = []
    for id in logits.indices {
      if best.count == count, let last = best.last, logits[id] <= logits[last] { continue }
      let place = best.firstIndex { logits[$0] < logits[id] } ?? best.count
      best.insert(id, at: place)
      if best.count > count { best.removeLast() }
    }
    return best.map { (id: Int32($0), value: logits[$0] - logSum) }
  }
}
