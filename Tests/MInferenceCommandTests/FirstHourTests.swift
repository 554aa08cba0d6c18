import JSON
import TemporaryCheckpoints
import Testing

/// What somebody sees who has just installed the command.
@Suite struct FirstHourTests {
  let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  /// Every verb with its words, from what the parser says of itself.
  private func verbs() throws -> [(words: String, verb: JSONValue)] {
    let run = try CommandRun("$M --experimental-dump-help", in: directory)
    let dump = try JSONValue(parsing: Array(run.output.utf8))
    func below(_ command: JSONValue, _ words: String) -> [(String, JSONValue)] {
      (command["subcommands"]?.elements ?? []).flatMap { verb -> [(String, JSONValue)] in
        let name = verb["commandName"]?.text ?? ""
        guard name != "help" else { return [] }
        let whole = words.isEmpty ? name : words + " " + name
        return [(whole, verb)] + below(verb, whole)
      }
    }
    return below(try #require(dump["command"]), "")
  }

  @Test func `alone it says what to try next`() throws {
    let run = try CommandRun("cd $D && $M", in: directory)
    #expect(run.status == 0 && run.errors.isEmpty)
    #expect(run.output.contains("minference generate --model"))
    #expect(run.output.contains("hf download") && run.output.contains("minference --help"))
  }

  @Test func `a model in Hugging Face's cache is named`() throws {
    let run = try CommandRun(
      """
      snapshot=$D/hub/models--some--model/snapshots/1
      mkdir -p $snapshot && echo '{}' > $snapshot/config.json
      HF_HUB_CACHE=$D/hub $M
      rm -r $D/hub
      """, in: directory)
    #expect(run.output.contains("--model some/model"), "\(run.output)")
  }

  @Test func `the help of every verb has an example`() throws {
    let verbs = try verbs()
    #expect(verbs.count > 12)
    for (words, verb) in verbs where verb["shouldDisplay"] != .boolean(false) {
      let discussion = verb["discussion"]?.text ?? ""
      #expect(discussion.contains("minference \(words)"), "\(words): \(discussion)")
    }
  }

  @Test func `numbers in help are grouped`() throws {
    let run = try CommandRun("$M help demo", in: directory)
    #expect(run.output.contains("32,768"), "\(run.output)")
  }

  @Test func `completion scripts are there for three shells`() throws {
    for shell in ["bash", "zsh", "fish"] {
      let run = try CommandRun("$M --generate-completion-script \(shell)", in: directory)
      #expect(run.status == 0 && run.output.contains("generate") && run.output.count > 10_000)
    }
    let run = try CommandRun(
      "$M --generate-completion-script bash > $D/c && bash -n $D/c", in: directory)
    #expect(run.status == 0)
  }

  @Test func `bash completes verbs, flags and the words that flags take`() throws {
    let run = try CommandRun(
      #"""
      $M --generate-completion-script bash > $D/c
      cat > $D/complete <<'END'
      . "$1/c"
      function=$(complete -p minference | sed 's/.*-F \([^ ]*\).*/\1/')
      shift
      COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
      "$function" minference "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
      echo "${COMPREPLY[*]}"
      END
      bash $D/complete $D minference gen
      bash $D/complete $D minference generate --chat-te
      bash $D/complete $D minference generate --device ''
      bash $D/complete $D minference evaluate tasks --kinds graph
      bash $D/complete $D minference bench prefill --attention vert
      """#, in: directory)
    #expect(
      run.output.split(separator: "\n") == [
        "generate", "--chat-template --chat-template-name", "auto cpu cuda",
        "graph_bfs graph_parents", "vertical-slash vertical-slash-share vertical",
      ], "\(run.output) \(run.errors)")
  }

  @Test func `the manual describes every verb and every option`() throws {
    let run = try CommandRun("$M manual", in: directory)
    #expect(run.status == 0 && run.output.hasPrefix(".TH MINFERENCE 1"))
    for (words, verb) in try verbs() where verb["shouldDisplay"] != .boolean(false) {
      let title = ("minference " + words).uppercased().replacingHyphens
      #expect(run.output.contains(".SH \(title)\n"), "\(title)")
      for argument in verb["arguments"]?.elements ?? [] {
        for name in argument["names"]?.elements ?? [] where name["kind"] == .string("long") {
          let flag = ("--" + (name["name"]?.text ?? "")).replacingHyphens
          #expect(run.output.contains(flag), "\(words) \(flag)")
        }
      }
    }
  }

  @Test func `advice names flags that a verb takes`() throws {
    let flags = Set(
      try verbs().flatMap { _, verb in
        (verb["arguments"]?.elements ?? []).flatMap { $0["names"]?.elements ?? [] }
          .compactMap { $0["name"]?.text }
      })
    let source = try TemporaryDirectory.read(
      #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3)
        .joined(separator: "/") + "/Sources/MInferenceCommand/Terminal/ErrorText.swift")
    var found = 0
    for word in source.split(whereSeparator: { " \"()\n".contains($0) })
    where word.hasPrefix("--") && word.count > 2 && !word.contains("\\") {
      let flag = word.dropFirst(2).prefix { $0.isLetter || $0 == "-" || $0.isNumber }
      #expect(flags.contains(String(flag)), "--\(flag)")
      found += 1
    }
    #expect(found > 15)
  }
}

extension String {
  /// As a manual page writes hyphens.
  fileprivate var replacingHyphens: String {
    map { $0 == "-" ? "\\-" : String($0) }.joined()
  }
}
