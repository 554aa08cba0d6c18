import Compute
import Testing

/// What errors tell a user to do.
@Suite struct RemedyTests {
  @Test func `a remedy is its advice, then the settings that help`() {
    #expect("\(Remedy("free memory"))" == "free memory")
    #expect("\(Remedy(use: .processor))" == "use the CPU")
    #expect(
      "\(Remedy("install it", use: .shorterPrompt, .smallerChunk, .processor))"
        == "install it; use a shorter prompt, a smaller chunk or the CPU")
  }

  @Test func `a caller names settings as its own interface does`() {
    let error = ComputeError.unavailable(
      what: "a driver", remedy: Remedy("install it", use: .processor, .gpu))
    let text = error.description { $0 == .processor ? "--device cpu" : $0.words }
    #expect(text == "a driver is not available: install it; use --device cpu or a GPU")
    #expect(error.description == "a driver is not available: install it; use the CPU or a GPU")
  }

  @Test func `errors of the library name no flag`() {
    let errors: [ComputeError] = [
      .outOfMemory(wantedBytes: 1, purpose: "keys"), .unavailable(what: "a GPU", remedy: "wait"),
    ]
    for error in errors { #expect(!error.description.contains("--"), "\(error)") }
  }
}
