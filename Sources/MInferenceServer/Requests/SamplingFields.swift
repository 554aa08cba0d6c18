import JSON
import MInference

extension RequestFields {
  /// How tokens are chosen: the checkpoint's settings with what the request has in their place; nil
  /// if it has nothing.
  func sampling(of model: LanguageModel) throws(APIError) -> SamplingOptions? {
    var options = model.defaultSampling
    let temperature = try number("temperature", in: 0...100)
    let topP = try number("top_p", in: 0...1)
    let topK = try int("top_k", in: -1...Int(Int32.max))
    let minP = try number("min_p", in: 0...1)
    var penalty: Double?
    for key in ["repetition_penalty", "repeat_penalty"] where penalty == nil {
      penalty = try number(key, in: 0.001...1000)
    }
    let seed = try int("seed", in: Int.min...Int.max)
    for key in ["presence_penalty", "frequency_penalty"] {
      if let value = try number(key, in: -2...2), value != 0 {
        throw .invalid(
          "\(key) is not supported; use repetition_penalty", parameter: key)
      }
    }
    if let bias = self["logit_bias"], case .object(let members) = bias, !members.isEmpty {
      throw .invalid("logit_bias is not supported", parameter: "logit_bias")
    }
    if let temperature { options.temperature = Float(temperature) }
    // 0 keeps one token, as the likeliest is always among those kept.
    if let topP { options.topP = max(Float(topP), .leastNormalMagnitude) }
    if let topK { options.topK = max(0, topK) }
    if let minP { options.minP = Float(minP) }
    if let penalty { options.repetitionPenalty = Float(penalty) }
    if let seed { options.seed = UInt64(bitPattern: Int64(seed)) }
    return options == model.defaultSampling ? nil : options
  }

  /// Texts before which the answer ends: at most 16 of at most 1,000 characters (code points).
  func stopStrings(_ key: String = "stop") throws(APIError) -> [String] {
    let texts = try texts(key, atMost: 16)
    guard texts.allSatisfy({ !$0.isEmpty && $0.unicodeScalars.count <= 1000 }) else {
      throw .invalid("\(key) holds a text that is empty or too long", parameter: key)
    }
    return texts
  }

  /// Which pairs a prompt's reading computes: `"attention": "dense"`, or an object with `mode`,
  /// `budgets` by the names of the command's flags, and `exact`.
  func attention(_ defaults: AttentionOptions) throws(APIError) -> AttentionOptions? {
    guard let value = self["attention"] else { return nil }
    func mode(_ name: String) throws(APIError) -> AttentionMode {
      guard let mode = AttentionMode(rawValue: name) else {
        let known = AttentionMode.allCases.map(\.rawValue).joined(separator: ", ")
        throw .invalid(
          "attention \"\(name.prefix(40))\" is not known: give one of \(known)",
          parameter: "attention")
      }
      return mode
    }
    var options = defaults
    if let name = value.text {
      options = AttentionOptions(mode: try mode(name))
      return options
    }
    let fields = try RequestFields(value, path: "attention.")
    if let name = try fields.text("mode") { options.mode = try mode(name) }
    options.exact = try fields.bool("exact") ?? options.exact
    if let budgets = fields["budgets"] {
      guard case .object(let members) = budgets, members.count <= 16 else {
        throw fields.wrong("budgets", budgets, "an object of numbers")
      }
      var given: [String: Double] = [:]
      for member in members {
        guard let number = member.value.double, number.isFinite else {
          throw fields.wrong("budgets", member.value, "an object of numbers")
        }
        given[member.key] = number
      }
      options.budgets = AttentionBudgets(given)
    }
    return options
  }
}
