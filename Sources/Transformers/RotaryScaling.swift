public import Checkpoints
public import Compute

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The rotary frequencies of a model, for a sequence of a given length.
///
/// The published models were trained and are run with frequencies in float32, so every step here is
/// rounded to float32 where transformers' is. Source: transformers, `modeling_rope_utils.py`.
public struct RotaryScaling: Sendable, Equatable {
  /// Elements of a head that turn; even.
  public let dimensions: Int
  public let theta: Double
  public let maxPositionEmbeddings: Int
  public let scaling: RopeScaling
  /// Which elements form a pair.
  public let layout: RotaryEmbedding.Layout

  public init(
    dimensions: Int, theta: Double, maxPositionEmbeddings: Int, scaling: RopeScaling,
    layout: RotaryEmbedding.Layout = .halves
  ) {
    self.dimensions = dimensions
    self.layout = layout
    self.theta = theta
    self.maxPositionEmbeddings = maxPositionEmbeddings
    self.scaling = scaling
  }

  init(
    _ configuration: ModelConfiguration, dimensions: Int, layout: RotaryEmbedding.Layout
  ) {
    self.init(
      dimensions: dimensions, theta: configuration.ropeTheta,
      maxPositionEmbeddings: configuration.maxPositionEmbeddings,
      scaling: configuration.ropeScaling, layout: layout)
  }

  /// Positions that the model has: `max_position_embeddings`, except that dynamic scaling reaches
  /// `factor` times as far, and YaRN `factor` times its original length if that is more.
  public var contextLength: Int {
    switch scaling {
    case .none, .linear, .llama3, .longRope, .divisors: maxPositionEmbeddings
    case .dynamic(let factor): max(maxPositionEmbeddings, extended(maxPositionEmbeddings, factor))
    case .yarn(let yarn):
      max(maxPositionEmbeddings, extended(yarn.originalMaxPositionEmbeddings, yarn.factor))
    }
  }

  private func extended(_ length: Int, _ factor: Double) -> Int {
    Int(min(Double(length) * factor, 0x1p40))
  }

  /// The embedding for a sequence of `length` tokens.
  ///
  /// Dynamic scaling and LongRoPE alone look at the length: past `max_position_embeddings` the base
  /// of the first grows with it, past the original length the second takes its long factors. Every key of one sequence has to be turned alike, so the length is that of the whole prompt
  /// when the sequence begins, not of the part that has been read; this is what transformers
  /// computes on a prompt in a single forward pass.
  public func embedding(forLength length: Int) -> RotaryEmbedding {
    var embedding = scaledEmbedding(forLength: length)
    embedding.layout = layout
    return embedding
  }

  /// Whether the frequencies of a sequence that grows from `length` to `longer` tokens change in a
  /// way that `generate` of transformers begins anew for: LongRoPE's long factors come in force.
  func changes(from length: Int, to longer: Int) -> Bool {
    guard case .longRope(let longRope) = scaling else { return false }
    let original = longRope.originalMaxPositionEmbeddings
    return length <= original && longer > original
  }

  private func scaledEmbedding(forLength length: Int) -> RotaryEmbedding {
    switch scaling {
    case .none:
      RotaryEmbedding(inverseFrequencies: frequencies(theta))
    case .linear(let factor):
      RotaryEmbedding(inverseFrequencies: frequencies(theta).map { $0 / Float(factor) })
    case .dynamic(let factor):
      RotaryEmbedding(
        inverseFrequencies: frequencies(dynamicTheta(factor: factor, length: length)))
    case .llama3(let llama3):
      RotaryEmbedding(inverseFrequencies: frequencies(theta).map { scaled($0, llama3) })
    case .divisors(let divisors):
      RotaryEmbedding(
        inverseFrequencies: zip(frequencies(theta), divisors).map { $0 / Float($1) })
    case .yarn(let yarn):
      RotaryEmbedding(
        inverseFrequencies: scaledFrequencies(yarn), attentionScaling: attentionScaling(yarn))
    case .longRope(let longRope):
      RotaryEmbedding(
        inverseFrequencies: frequencies(longRope, length: length),
        attentionScaling: attentionScaling(longRope))
    }
  }

  /// base ^ (2p / dimensions) for every pair p.
  private func periods(_ base: Double) -> [Float] {
    stride(from: 0, to: dimensions, by: 2).map { element in
      Float(pow(base, Double(Float(element) / Float(dimensions))))
    }
  }

  private func frequencies(_ base: Double) -> [Float] { periods(base).map { 1 / $0 } }

  private func dynamicTheta(factor: Double, length: Int) -> Double {
    let limit = Double(maxPositionEmbeddings)
    let stretch = factor * max(Double(length), limit) / limit - (factor - 1)
    return theta * pow(stretch, Double(dimensions) / Double(dimensions - 2))
  }

  /// Llama 3.1: wavelengths above original / low are stretched, those below original / high kept,
  /// those between interpolated.
  private func scaled(_ frequency: Float, _ llama3: RopeScaling.Llama3) -> Float {
    let original = Float(llama3.originalMaxPositionEmbeddings)
    let low = Float(llama3.lowFrequencyFactor)
    let high = Float(llama3.highFrequencyFactor)
    let factor = Float(llama3.factor)
    // A number over a tensor is, in torch, the number times the rounded reciprocal.
    let wavelength = Float(2 * Double.pi) * (1 / frequency)
    if wavelength > original / low { return frequency / factor }
    if wavelength < original / high { return frequency }
    let smooth = (original * (1 / wavelength) - low) / (high - low)
    return (1 - smooth) * frequency / factor + smooth * frequency
  }

  private func scaledFrequencies(_ yarn: RopeScaling.Yarn) -> [Float] {
    var low = rampEnd(rotations: yarn.betaFast, yarn)
    var high = rampEnd(rotations: yarn.betaSlow, yarn)
    if yarn.truncate {
      low.round(.down)
      high.round(.up)
    }
    low = max(low, 0)
    high = min(high, Double(dimensions - 1))
    if low == high { high += 0.001 }
    return periods(theta).enumerated().map { pair, period in
      let ramp = min(max((Float(pair) - Float(low)) / Float(high - low), 0), 1)
      let kept = 1 - ramp
      return 1 / (Float(yarn.factor) * period) * (1 - kept) + 1 / period * kept
    }
  }

  /// The pair that completes `rotations` rotations within the original length.
  private func rampEnd(rotations: Double, _ yarn: RopeScaling.Yarn) -> Double {
    let length = Double(yarn.originalMaxPositionEmbeddings)
    return Double(dimensions) * log(length / (rotations * 2 * .pi)) / (2 * log(theta))
  }

  private func attentionScaling(_ yarn: RopeScaling.Yarn) -> Float {
    func magnitude(_ mscale: Double) -> Double {
      yarn.factor <= 1 ? 1 : 0.1 * mscale * log(yarn.factor) + 1
    }
    if let given = yarn.attentionFactor { return Float(given) }
    if let mscale = yarn.mscale, let all = yarn.mscaleAllDimensions, mscale != 0, all != 0 {
      return Float(magnitude(mscale) / magnitude(all))
    }
    return Float(magnitude(1))
  }

  private func frequencies(_ longRope: RopeScaling.LongRope, length: Int) -> [Float] {
    let isLong = length > longRope.originalMaxPositionEmbeddings
    let factors = isLong ? longRope.longFactors : longRope.shortFactors
    return zip(periods(theta), factors).map { period, factor in 1 / (Float(factor) * period) }
  }

  private func attentionScaling(_ longRope: RopeScaling.LongRope) -> Float {
    if let given = longRope.attentionFactor { return Float(given) }
    guard longRope.factor > 1 else { return 1 }
    let original = Double(longRope.originalMaxPositionEmbeddings)
    return Float((1 + log(longRope.factor) / log(original)).squareRoot())
  }
}
