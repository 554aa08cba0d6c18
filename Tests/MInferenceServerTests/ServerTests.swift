import JSON
import MInference
import MInferenceServer
import Testing

@Suite struct ServerTests {
  private let question = #"{"role": "user", "content": "Where is the lantern?"}"#

  private func ask(_ more: String) -> String {
    "{\"model\": \"tiny\", \"messages\": [\(question)], \(more)}"
  }

  @Test func `a chat completion and its stream say the same, with usage and figures`() async throws
  {
    let server = try await TestServer.start()
    let whole = try await server.client.post(
      "/v1/chat/completions", ask(#""max_tokens": 12, "temperature": 0"#))
    #expect(whole.status == 200 && whole.headers["content-type"] == "application/json")
    let json = try #require(whole.json)
    #expect(json["object"]?.text == "chat.completion")
    let choice = try #require(json["choices"]?.elements?.first)
    let text = try #require(choice["message"]?["content"]?.text)
    #expect(choice["finish_reason"]?.text == "length")
    #expect(json["usage"]?["completion_tokens"]?.int == 12)
    let prompt = try server.model.encode(.user("Where is the lantern?"))
    #expect(json["usage"]?["prompt_tokens"]?.int == prompt.count)
    #expect(json["attention"]?["density"]?.double == 1)

    let stream = try await server.client.post(
      "/v1/chat/completions",
      ask(
        #""max_tokens": 12, "temperature": 0, "stream": true, "return_progress": true, "#
          + #""stream_options": {"include_usage": true}"#))
    #expect(stream.headers["content-type"]?.hasPrefix("text/event-stream") == true)
    #expect(stream.body.hasSuffix("data: [DONE]\n\n"))
    let events = stream.events
    let joined = events.compactMap { $0["choices"]?.elements?.first?["delta"]?["content"]?.text }
      .joined()
    #expect(joined == text)
    #expect(events.contains { $0["prompt_progress"]?["total"]?.int == prompt.count })
    let last = try #require(events.last)
    #expect(last["choices"]?.elements?.isEmpty == true)
    // The second prompt is the first: all but its last token was there.
    #expect(
      last["usage"]?["prompt_tokens_details"]?["cached_tokens"]?.int == prompt.count - 1)
    await server.stop()
  }

  @Test func `the answer is that of a session`() async throws {
    let server = try await TestServer.start()
    let reply = try await server.client.post(
      "/v1/completions", #"{"prompt": "The map was", "max_tokens": 10, "temperature": 0}"#)
    let prompt = try server.model.encode(.raw("The map was"))
    let session = try server.model.makeSession(capacity: 100)
    try await session.prefill(prompt)
    var text = ""
    for try await piece in session.generate(GenerationOptions(maximumTokens: 10)) { text += piece }
    #expect(reply.json?["choices"]?.elements?.first?["text"]?.text == text)
    await server.stop()
  }

  @Test(arguments: [
    ("{", 400, "not JSON"), ("[]", 400, "object"), ("{}", 400, "messages"),
    (#"{"messages": []}"#, 400, "messages"), (#"{"messages": [{"role": "x"}]}"#, 400, "role"),
    (#"{"messages": [{"role": "user", "content": "a"}], "n": 2}"#, 400, "n is 2"),
    (#"{"messages": [{"role": "user", "content": "a"}], "temperature": -1}"#, 400, "temperature"),
    (#"{"messages": [{"role": "user", "content": "a"}], "max_tokens": 0}"#, 400, "max_tokens"),
    (#"{"messages": [{"role": "user", "content": "a"}], "attention": "x"}"#, 400, "attention"),
    (#"{"messages": [{"role": "user", "content": "a"}], "top_logprobs": 21}"#, 400, "top_logprobs"),
    (
      #"{"messages": [{"role": "user", "content": "a"}], "max_completion_tokens": 5, "max_tokens": 0}"#,
      400, "max_tokens"
    ),
    (#"{"messages": [{"role": "user", "content": "a"}], "stop": ""}"#, 400, "stop"),
    (
      #"{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}"#, 400, "image_url"
    ),
    (
      #"{"messages": [{"role": "user", "content": "a"}], "response_format": {"type": "json_schema", "json_schema": {"schema": {"not": {}}}}}"#,
      400, "not"
    ),
  ])
  func `what is wrong with a request is said`(body: String, status: Int, word: String) async throws
  {
    let server = try await TestServer.start()
    let reply = try await server.client.post("/v1/chat/completions", body)
    #expect(reply.status == status)
    #expect(reply.json?["error"]?["message"]?.text?.contains(word) == true, "\(reply.body)")
    #expect(reply.json?["error"]?["type"]?.text == "invalid_request_error")
    await server.stop()
  }

  @Test(arguments: [
    #"{"role": "user", "content": ["a", {"text": "b"}]}"#,
    #"{"role": "user", "content": "a"}, {"role": "assistant", "content": null, "tool_calls": []}"#,
    #"{"role": "user", "content": "a"}, {"role": "function", "name": "f"}"#,
  ])
  func `messages that the published description allows are read`(messages: String) async throws {
    let server = try await TestServer.start()
    let stop = String(repeating: "\u{FC}", count: 1000)
    let reply = try await server.client.post(
      "/v1/chat/completions",
      "{\"messages\": [\(messages)], \"max_tokens\": 1, \"stop\": \"\(stop)\", \"n\": null}")
    #expect(reply.status == 200, "\(reply.body)")
    let description = try await server.client.get("/openapi.json").json
    let message = description?["components"]?["schemas"]?["Message"]
    #expect(message?["required"]?.elements?.map(\.text) == ["role"])
    #expect(
      message?["properties"]?["role"]?["enum"]?.elements?.contains(.string("function")) == true)
    await server.stop()
  }

  @Test func `a prompt beyond the context is refused with its length`() async throws {
    let server = try await TestServer.start()
    let text = String(repeating: "word ", count: 500)
    let reply = try await server.client.post(
      "/v1/completions", "{\"prompt\": \"\(text)\", \"max_tokens\": 1}")
    #expect(reply.status == 400)
    #expect(reply.json?["error"]?["code"]?.text == "context_length_exceeded")
    #expect(reply.json?["error"]?["message"]?.text?.contains("2,500 tokens") == true)
    await server.stop()
  }

  @Test func `without a key there is no answer, but for health and the page`() async throws {
    let server = try await TestServer.start(
      ServerOptions(port: 0, keys: ["first", "second"], stopSeconds: 0))
    let client = server.client
    #expect(try await client.get("/v1/models").status == 401)
    #expect(
      try await client.get("/v1/models", headers: ["authorization": "Bearer wrong"]).status == 401)
    #expect(
      try await client.get("/v1/models", headers: ["authorization": "Bearer second"]).status == 200)
    #expect(try await client.get("/v1/models", headers: ["x-api-key": "first"]).status == 200)
    #expect(try await client.get("/health").status == 200)
    #expect(try await client.get("/").status == 200)
    await server.stop()
  }

  @Test func `other origins may call where they are let in`() async throws {
    let server = try await TestServer.start(
      ServerOptions(port: 0, origins: ["https://a.example"], stopSeconds: 0))
    let client = server.client
    let asked = try await client.send(
      "OPTIONS", "/v1/chat/completions", body: nil, headers: ["origin": "https://a.example"])
    #expect(asked.headers["access-control-allow-origin"] == "https://a.example")
    let other = try await client.get("/v1/models", headers: ["origin": "https://b.example"])
    #expect(other.headers["access-control-allow-origin"] == nil)
    await server.stop()
  }

  @Test func `a body that is too large is refused`() async throws {
    let server = try await TestServer.start(
      ServerOptions(port: 0, bodyBytes: 1000, stopSeconds: 0))
    let reply = try await server.client.post(
      "/tokenize", "{\"content\": \"\(String(repeating: "a", count: 2000))\"}")
    #expect(reply.status == 413)
    await server.stop()
  }

  @Test func `JSON comes out whatever the model would say`() async throws {
    let server = try await TestServer.start()
    for seed in 0..<6 {
      let reply = try await server.client.post(
        "/v1/chat/completions",
        ask(
          "\"max_tokens\": 60, \"temperature\": 1.5, \"seed\": \(seed), "
            + #""response_format": {"type": "json_object"}"#))
      let text = try #require(
        reply.json?["choices"]?.elements?.first?["message"]?["content"]?.text, "\(reply.body)")
      guard case .object = try JSONValue(parsing: Array(text.utf8)) else {
        Issue.record("\(text)")
        continue
      }
    }
    let schema = #"""
      {"type": "object", "properties": {"name": {"type": "string", "maxLength": 8}, "count":
      {"type": "integer"}}, "required": ["name", "count"]}
      """#.split(separator: "\n").joined()
    let reply = try await server.client.post(
      "/v1/chat/completions",
      ask(
        "\"max_tokens\": 64, \"response_format\": {\"type\": \"json_schema\", "
          + "\"json_schema\": {\"name\": \"x\", \"schema\": \(schema)}}"))
    let choice = try #require(reply.json?["choices"]?.elements?.first, "\(reply.body)")
    let text = choice["message"]?["content"]?.text ?? ""
    let value = try JSONValue(parsing: Array(text.utf8))
    #expect(value["name"]?.text != nil && value["count"]?.int != nil)
    await server.stop()
  }

  @Test func `a call that is demanded comes, in pieces and as a whole`() async throws {
    let server = try await TestServer.start()
    let tools = #"""
      "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object",
      "properties": {"city": {"type": "string", "maxLength": 6}}, "required": ["city"]}}}],
      "tool_choice": "required", "max_tokens": 150
      """#
    let whole = try await server.client.post("/v1/chat/completions", ask(tools))
    let choice = try #require(whole.json?["choices"]?.elements?.first, "\(whole.body)")
    #expect(choice["finish_reason"]?.text == "tool_calls")
    let call = try #require(choice["message"]?["tool_calls"]?.elements?.first?["function"])
    #expect(call["name"]?.text == "weather")
    let arguments = try #require(call["arguments"]?.text)
    #expect(try JSONValue(parsing: Array(arguments.utf8))["city"]?.text != nil)

    let stream = try await server.client.post(
      "/v1/chat/completions", ask(tools + ", \"stream\": true"))
    let deltas = stream.events.compactMap {
      $0["choices"]?.elements?.first?["delta"]?["tool_calls"]?.elements?.first
    }
    #expect(deltas.first?["function"]?["name"]?.text == "weather")
    #expect(deltas.first?["id"]?.text?.hasPrefix("call") == true)
    let joined = deltas.filter { $0["index"]?.int == 0 }
      .compactMap { $0["function"]?["arguments"]?.text }.joined()
    #expect(joined == arguments)
    await server.stop()
  }

  @Test func `responses and messages answer in their own words`() async throws {
    let server = try await TestServer.start()
    let client = server.client
    let response = try await client.post(
      "/v1/responses",
      #"{"model": "tiny", "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}], "instructions": "Be brief.", "max_output_tokens": 6, "stream": true, "store": false, "tools": [{"type": "web_search"}], "reasoning": {"effort": "low"}, "include": []}"#
    )
    #expect(response.status == 200)
    let types = response.events.compactMap { $0["type"]?.text }
    #expect(types.first == "response.created" && types.last == "response.incomplete")
    #expect(
      types.contains("response.output_text.delta") && types.contains("response.output_item.done"))
    #expect(
      response.events.compactMap { $0["sequence_number"]?.int } == Array(0..<response.events.count))
    let stored = try await client.post(
      "/v1/responses", #"{"input": "a", "previous_response_id": "resp_1"}"#)
    #expect(stored.status == 400)

    let messages =
      #"{"model": "tiny", "max_tokens": 6, "system": "Be brief.", "messages": [{"role": "user", "content": "Hello"}]"#
    let message = try await client.post("/v1/messages", messages + "}")
    #expect(message.json?["type"]?.text == "message")
    #expect(message.json?["stop_reason"]?.text == "max_tokens")
    #expect(message.json?["usage"]?["output_tokens"]?.int == 6)
    let stream = try await client.post("/v1/messages", messages + ", \"stream\": true}")
    let kinds = stream.events.compactMap { $0["type"]?.text }
    #expect(kinds.first == "message_start" && kinds.last == "message_stop")
    #expect(kinds.contains("content_block_delta"))
    let count = try await client.post("/v1/messages/count_tokens", messages + "}")
    let read =
      (message.json?["usage"]?["input_tokens"]?.int ?? 0)
      + (message.json?["usage"]?["cache_read_input_tokens"]?.int ?? 0)
    #expect(count.json?["input_tokens"]?.int == read)
    let wrong = try await client.post("/v1/messages", "{}")
    #expect(wrong.json?["type"]?.text == "error")
    await server.stop()
  }

  @Test func `tokens go forth and back`() async throws {
    let server = try await TestServer.start()
    let client = server.client
    let tokens = try await client.post("/tokenize", #"{"content": "The map."}"#)
    let ids = try #require(tokens.json?["tokens"])
    #expect(tokens.json?["count"]?.int == ids.elements?.count)
    let text = try await client.post("/detokenize", "{\"tokens\": \(ids.serialized())}")
    #expect(text.json?["content"]?.text == "The map.")
    let prompt = try await client.post("/apply-template", "{\"messages\": [\(question)]}")
    let read = try server.model.encode(.user("Where is the lantern?"))
    let shown = server.model.tokenizer.decode(read, skipSpecialTokens: false)
    #expect(shown.contains("Where is the lantern?") && prompt.json?["prompt"]?.text == shown)
    #expect(prompt.json?["tokens"]?.int == read.count)
    #expect(try await client.post("/detokenize", #"{"tokens": [999999]}"#).status == 400)
    await server.stop()
  }

  @Test func `what monitors and Ollama's clients ask is answered`() async throws {
    let server = try await TestServer.start()
    let client = server.client
    _ = try await client.post("/v1/chat/completions", ask(#""max_tokens": 3"#))
    let metrics = try await client.get("/metrics").body
    #expect(metrics.contains("vllm:generation_tokens_total{model_name=\"tiny\"} 3\n"))
    #expect(metrics.contains("llamacpp:requests_processing{model_name=\"tiny\"} 0\n"))
    #expect(
      metrics.contains("vllm:time_to_first_token_seconds_count{model_name=\"tiny\"} 1\n"))
    let labels =
      #"http_route="/v1/chat/completions",http_request_method="POST",http_response_status_code="200""#
    #expect(metrics.contains("http_server_request_duration_seconds_count{\(labels)} 1\n"))
    #expect(metrics.contains("http_server_active_requests 1\n"))
    let models = try await client.get("/v1/models").json
    #expect(models?["data"]?.elements?.first?["id"]?.text == "tiny")
    #expect(try await client.get("/v1/models/tiny").status == 200)
    #expect(try await client.get("/v1/models/other").status == 404)
    #expect(try await client.get("/nothing").status == 404)
    let wrong = try await client.get("/v1/chat/completions")
    #expect(wrong.status == 405 && wrong.headers["allow"] == "POST")
    #expect(try await client.get("/openapi.json").json?["openapi"]?.text == "3.1.0")
    #expect(try await client.get("/api/version").json?["version"]?.text?.isEmpty == false)
    #expect(try await client.get("/api/tags").json?["models"]?.elements?.count == 1)
    let shown = try await client.post("/api/show", #"{"model": "tiny:latest"}"#).json
    #expect(shown?["model_info"]?["llama.context_length"]?.int == 2048)
    let chat = try await client.post(
      "/api/chat",
      "{\"model\": \"tiny\", \"messages\": [\(question)], \"options\": {\"num_predict\": 4}}")
    let lines = chat.body.split(separator: "\n").compactMap {
      try? JSONValue(parsing: Array($0.utf8))
    }
    #expect(lines.last?["done"] == .boolean(true) && lines.last?["eval_count"]?.int == 4)
    let page = try await client.get("/").body
    #expect(page.contains("<html lang=\"en\">"))
    await server.stop()
  }

  @Test func `a client that goes ends its request`() async throws {
    let server = try await TestServer.start()
    try await server.client.abandon(
      "/v1/chat/completions",
      ask(#""max_tokens": 1900, "stream": true, "ignore_eos": true"#), after: 600)
    var metrics = server.engine.currentMetrics
    for _ in 0..<400 where metrics.finished["cancelled"] == nil {
      try await Task.sleep(for: .milliseconds(10))
      metrics = server.engine.currentMetrics
    }
    #expect(metrics.finished == ["cancelled": 1])
    #expect(metrics.completionTokens < 1900)
    await server.stop()
  }

  @Test func `a long reading shows signs of life`() async throws {
    let server = try await TestServer.start(
      ServerOptions(port: 0, heartbeatSeconds: 0.01, stopSeconds: 0))
    let more = #""max_tokens": 400, "ignore_eos": true"#
    let stream = try await server.client.post(
      "/v1/chat/completions", ask(more + #", "stream": true"#))
    #expect(stream.body.contains(": reading\n\n"))
    let whole = try await server.client.post("/v1/chat/completions", ask(more))
    #expect(whole.body.hasPrefix(" "))
    #expect(whole.json?["usage"]?["completion_tokens"]?.int == 400)
    await server.stop()
  }
}
