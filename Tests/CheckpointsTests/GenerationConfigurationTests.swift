import Checkpoints
import Testing

@Suite struct GenerationConfigurationTests {
  private func generation(
    _ text: String, _ changes: [String: String?] = [:]
  ) throws -> GenerationConfiguration {
    let directory = try TemporaryDirectory()
    try directory.write(text, to: "generation_config.json")
    return try GenerationConfiguration(
      file: directory.path(of: "generation_config.json"), defaults: try configuration(changes))
  }

  @Test func `Sampling values are read`() throws {
    let generation = try generation(
      #"{"eos_token_id": [151645, 151643], "bos_token_id": 151643, "do_sample": true,"#
        + #" "temperature": 0.7, "top_p": 0.8, "top_k": 20, "min_p": 0.05,"#
        + #" "repetition_penalty": 1.05, "transformers_version": "4.37.0"}"#)
    #expect(generation.endOfTextTokenIDs == [151645, 151643])
    #expect(generation.beginOfTextTokenIDs == [151643])
    #expect(generation.doSample == true)
    #expect(generation.temperature == 0.7)
    #expect(generation.topP == 0.8)
    #expect(generation.topK == 20)
    #expect(generation.minP == 0.05)
    #expect(generation.repetitionPenalty == 1.05)
  }

  @Test func `A single end token is a list of one`() throws {
    #expect(try generation(#"{"eos_token_id": 2}"#).endOfTextTokenIDs == [2])
  }

  @Test func `Token ids that it does not give are those of the model's configuration`() throws {
    let changes: [String: String?] = ["eos_token_id": "[5, 6]", "bos_token_id": "4"]
    let empty = try generation("{}", changes)
    #expect(empty.endOfTextTokenIDs == [5, 6])
    #expect(empty.beginOfTextTokenIDs == [4])
    #expect(empty.temperature == nil)
    #expect(try GenerationConfiguration(file: nil, defaults: configuration(changes)) == empty)
    #expect(try generation(#"{"eos_token_id": 7}"#, changes).endOfTextTokenIDs == [7])
  }

  @Test(arguments: [
    (#"{"temperature": -1}"#, "temperature"), (#"{"temperature": "hot"}"#, "temperature"),
    (#"{"top_p": 1.5}"#, "top_p"), (#"{"top_k": -1}"#, "top_k"), (#"{"top_k": 1.5}"#, "top_k"),
    (#"{"repetition_penalty": 0}"#, "repetition_penalty"), (#"{"do_sample": 1}"#, "do_sample"),
    (#"{"eos_token_id": {}}"#, "eos_token_id"), ("[]", "object"), ("{", "JSON"),
  ])
  func `Values that cannot be are refused by file and field`(text: String, field: String) throws {
    let error = #expect(throws: CheckpointError.self) { try generation(text) }
    #expect(isOneLine(error, naming: "generation_config.json", field))
  }
}
