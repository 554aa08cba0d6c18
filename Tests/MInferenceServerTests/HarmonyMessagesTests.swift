import MInference
import MInferenceServer
import Testing

@Suite struct HarmonyMessagesTests {
  private func call(_ id: String) -> ChatTemplateValue {
    .object([
      .init("id", .string(id)),
      .init("function", .object([.init("name", .string("f-" + id))])),
    ])
  }

  private func result(_ id: String) -> ChatMessage {
    ChatMessage(
      role: "tool", content: "result of \(id)", members: [.init("tool_call_id", .string(id))])
  }

  private func calling(
    _ ids: [String], content: String = "", _ more: [ChatTemplateValue.Member] = []
  ) -> ChatMessage {
    ChatMessage(
      role: "assistant", content: content,
      members: more + [.init("tool_calls", .list(ids.map(call)))])
  }

  @Test func `instructions stand in front, joined`() {
    let found = HarmonyMessages.adapt([
      ChatMessage(role: "system", content: "Be brief."),
      ChatMessage(role: "developer", content: "Be kind."),
      ChatMessage(role: "user", content: "Hello"),
      ChatMessage(role: "system", content: "Be slow."),
    ])
    #expect(
      found == [
        ChatMessage(role: "system", content: "Be brief.\n\nBe kind.\n\nBe slow."),
        ChatMessage(role: "user", content: "Hello"),
      ])
  }

  @Test func `what was thought has the template's name, and is never beside content and a call`() {
    let reasoning = ChatTemplateValue.Member("reasoning_content", .string("Hm."))
    let thinking = ChatTemplateValue.Member("thinking", .string("Hm."))
    let answer = ChatMessage(role: "assistant", content: "Yes.", members: [reasoning])
    #expect(
      HarmonyMessages.adapt([answer])
        == [ChatMessage(role: "assistant", content: "Yes.", members: [thinking])])
    let found = HarmonyMessages.adapt([calling(["1"], content: "I look.", [reasoning])])
    #expect(found.count == 1 && found[0].content.isEmpty)
    #expect(found[0].members.contains(.init("thinking", .string("Hm.\n\nI look."))))
    #expect(!found[0].members.contains { $0.key == "reasoning_content" })
    #expect(HarmonyMessages.adapt([calling(["1"], content: "I look.")])[0].content == "I look.")
  }

  @Test func `every call of a message gets one of its own, with its result behind it`() {
    let user = ChatMessage(role: "user", content: "Both, please.")
    let found = HarmonyMessages.adapt([
      user, calling(["1", "2", "3"], content: "I look."), result("2"), result("1"),
      ChatMessage(role: "assistant", content: "Done."),
    ])
    #expect(
      found == [
        user, calling(["1"], content: "I look."), result("1"), calling(["2"]), result("2"),
        calling(["3"]), ChatMessage(role: "assistant", content: "Done."),
      ])
  }

  @Test func `reasoning is never switched off, only low`() {
    for effort in ["none", "minimal", "low"] {
      #expect(
        HarmonyMessages.adapt(["reasoning_effort": .string(effort)])
          == ["reasoning_effort": .string("low")])
    }
    #expect(HarmonyMessages.adapt(["a": .null]) == ["a": .null])
    #expect(
      HarmonyMessages.adapt(["reasoning_effort": .string("high")])
        == ["reasoning_effort": .string("high")])
  }
}
