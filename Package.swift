// swift-tools-version: 6.1
import PackageDescription

let swiftSettings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
]

/// One Swift target of this package; every one is built with the same language settings.
func module(_ name: String, imports dependencies: [Target.Dependency] = []) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: swiftSettings)
}

/// The tests of one target. Goldens lie in `Goldens/` beside the tests and are read by path.
func tests(
  of name: String, imports dependencies: [Target.Dependency] = [], goldens: Bool = false
) -> Target {
  .testTarget(
    name: name + "Tests", dependencies: [.target(name: name)] + dependencies,
    exclude: goldens ? ["Goldens"] : [], swiftSettings: swiftSettings)
}

let package = Package(
  name: "swift-minference",
  platforms: [.macOS(.v15)],
  products: [
    .library(name: "MInference", targets: ["MInference"]),
    .executable(name: "minference", targets: ["MInferenceCommand"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0")
  ],
  targets: [
    .target(name: "CSystemCalls"),
    .target(name: "CKernels"),
    // Kernels are embedded as text and compiled when they are first used.
    .target(name: "CUDASources", exclude: ["Kernels"]),
    module("JSON"),
    module("StoredNumbers"),
    module("Files", imports: ["CSystemCalls"]),
    module("Checkpoints", imports: ["Files", "JSON", "StoredNumbers"]),
    module("Tokenizers", imports: ["Files", "JSON"]),
    module("ChatTemplates"),
    module("Compute", imports: ["StoredNumbers"]),
    // Backends that stand in for others: verification and tests build on them.
    module("BackendTesting", imports: ["Compute"]),
    module("ComputeCPU", imports: ["Compute", "CKernels", "CSystemCalls", "StoredNumbers"]),
    module(
      "ComputeCUDA", imports: ["Compute", "CUDASources", "CSystemCalls", "Files", "StoredNumbers"]),
    module("SparseAttention", imports: ["Compute", "Files", "JSON"]),
    module(
      "Transformers",
      imports: ["Checkpoints", "Compute", "Files", "SparseAttention", "StoredNumbers"]),
    module(
      "Pipeline",
      imports: [
        "Checkpoints", "Compute", "CSystemCalls", "JSON", "SparseAttention", "Transformers",
      ]),
    module(
      "PatternSearch",
      imports: [
        "Checkpoints", "Compute", "CSystemCalls", "Files", "SparseAttention", "Transformers",
      ]),
    module(
      "MInference",
      imports: [
        "ChatTemplates", "Checkpoints", "Tokenizers", "Compute", "ComputeCPU", "ComputeCUDA",
        "Files", "JSON", "Pipeline", "SparseAttention", "Transformers",
      ]),
    module("TextReports"),
    module("EvaluationTasks", imports: ["Files", "JSON", "MInference", "TextReports"]),
    module(
      "KernelVerification",
      imports: [
        "BackendTesting", "EvaluationTasks", "Files", "JSON", "MInference", "StoredNumbers",
        "TextReports",
      ]),
    module("Benchmarks", imports: ["EvaluationTasks", "JSON", "MInference", "TextReports"]),
    module("Plots", imports: ["MInference", "EvaluationTasks", "TextReports"]),
    // Not named as its product: folders whose names differ in case alone are one on some systems.
    .executableTarget(
      name: "MInferenceCommand",
      dependencies: [
        "Benchmarks", "CSystemCalls", "EvaluationTasks", "Files", "JSON", "KernelVerification",
        "MInference", "PatternSearch", "Plots", "TextReports",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: swiftSettings),
    tests(of: "JSON"),
    tests(of: "StoredNumbers", goldens: true),
    tests(of: "Files", imports: ["CSystemCalls"]),
    tests(
      of: "Checkpoints", imports: ["CSystemCalls", "Files", "JSON", "StoredNumbers"], goldens: true),
    tests(of: "Tokenizers", goldens: true),
    tests(of: "ChatTemplates", goldens: true),
    tests(of: "Compute", imports: ["StoredNumbers"]),
    tests(of: "ComputeCPU", imports: ["Compute", "StoredNumbers"]),
    tests(of: "ComputeCUDA", imports: ["Compute", "CUDASources"]),
    tests(of: "SparseAttention", imports: ["Compute"]),
    tests(
      of: "Transformers",
      imports: ["BackendTesting", "Checkpoints", "Compute", "ComputeCPU", "SparseAttention"],
      goldens: true),
    tests(
      of: "Pipeline",
      imports: [
        "BackendTesting", "Checkpoints", "Compute", "ComputeCPU", "SparseAttention",
        "TemporaryCheckpoints", "Transformers",
      ]),
    tests(
      of: "PatternSearch",
      imports: [
        "Checkpoints", "Compute", "ComputeCPU", "Files", "SparseAttention", "Transformers",
      ]),
    // Directories and checkpoints that tests write, and that go away with them.
    .target(
      name: "TemporaryCheckpoints", dependencies: ["Checkpoints", "JSON"],
      path: "Tests/TemporaryCheckpoints", swiftSettings: swiftSettings),
    tests(of: "MInference", imports: ["Files", "JSON", "TemporaryCheckpoints"]),
    // They run the product that is built beside them.
    tests(of: "MInferenceCommand", imports: ["JSON", "MInference", "TemporaryCheckpoints"]),
    tests(of: "TextReports", imports: ["JSON"]),
    tests(of: "EvaluationTasks", imports: ["JSON", "MInference"], goldens: true),
    tests(of: "KernelVerification", imports: ["BackendTesting", "MInference"]),
    tests(of: "Benchmarks", imports: ["JSON", "MInference"]),
    tests(of: "Plots", imports: ["EvaluationTasks", "MInference"]),
  ]
)
