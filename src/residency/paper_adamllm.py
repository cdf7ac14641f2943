"""AdaMLLM's Table 14 as printed; Tables 2, 3 and 4 repeat rows and averages of it."""

MODELS = ("LLaVA-v1.6-8B", "Qwen2-VL-2B", "Llama-3.2-11B")
BLOCKS = {
    "Recipe1M": """
        LLaVA-v1.6-8B, Two-Stage, Rule | 23.1 29.1 46.8 14.5 28.4
        LLaVA-v1.6-8B, Two-Stage, Ours | 16.2 28.3 43.5 28.0 29.0
        LLaVA-v1.6-8B, Single-Stage, Rule | 21.8 36.7 63.9 13.9 34.1
        LLaVA-v1.6-8B, Single-Stage, Ours | 24.8 36.1 65.3 42.0 42.0
        Qwen2-VL-2B, Two-Stage, Rule | 24.1 24.5 68.8 7.7 31.3
        Qwen2-VL-2B, Two-Stage, Ours | 16.5 43.0 69.5 23.9 38.2
        Qwen2-VL-2B, Single-Stage, Rule | 19.3 37.1 64.7 6.6 31.9
        Qwen2-VL-2B, Single-Stage, Ours | 24.0 41.2 72.0 23.9 40.3
        Llama-3.2-11B, Two-Stage, Rule | 25.7 26.2 82.1 16.7 37.7
        Llama-3.2-11B, Two-Stage, Ours | 17.8 38.0 74.6 33.2 40.9
        Llama-3.2-11B, Single-Stage, Rule | 21.4 32.2 75.8 16.9 36.6
        Llama-3.2-11B, Single-Stage, Ours | 26.1 41.0 82.2 42.0 47.8
    """,
    "PMCRaw": """
        LLaVA-v1.6-8B, Two-Stage, GPT-4 | 43.4 50.2 10.1 59.2 35.0 62.5 37.1 42.5
        LLaVA-v1.6-8B, Two-Stage, Ours | 56.2 71.4 17.2 74.5 50.6 79.0 40.4 55.6
        LLaVA-v1.6-8B, Single-Stage, GPT-4 | 44.2 59.1 11.6 62.2 38.5 67.3 39.9 46.1
        LLaVA-v1.6-8B, Single-Stage, Ours | 56.8 76.4 19.7 79.3 51.0 80.5 44.3 58.3
        Qwen2-VL-2B, Two-Stage, GPT-4 | 43.4 55.5 11.8 60.1 37.1 58.8 41.2 44.0
        Qwen2-VL-2B, Two-Stage, Ours | 55.2 74.5 18.4 68.4 48.8 79.8 43.8 55.5
        Qwen2-VL-2B, Single-Stage, GPT-4 | 43.6 59.6 13.2 47.4 37.3 57.0 31.2 41.3
        Qwen2-VL-2B, Single-Stage, Ours | 53.2 75.2 20.1 63.8 49.8 74.6 43.5 54.3
        Llama-3.2-11B, Two-Stage, GPT-4 | 47.6 58.7 14.6 69.5 38.0 69.1 47.5 49.3
        Llama-3.2-11B, Two-Stage, Ours | 60.0 75.7 22.1 76.8 51.4 80.5 47.9 59.2
        Llama-3.2-11B, Single-Stage, GPT-4 | 46.8 56.5 16.0 69.9 41.9 65.4 45.3 48.8
        Llama-3.2-11B, Single-Stage, Ours | 56.7 77.6 22.2 87.3 55.0 76.1 49.9 60.7
    """,
    "PMCRefined": """
        LLaVA-v1.6-8B, Two-Stage, GPT-4V | 50.0 68.3 17.0 67.5 43.3 67.3 40.4 50.5
        LLaVA-v1.6-8B, Two-Stage, Ours | 54.8 73.1 19.3 79.7 55.6 82.7 45.1 58.6
        LLaVA-v1.6-8B, Single-Stage, GPT-4V | 52.3 76.2 20.1 73.3 47.0 76.5 43.1 55.5
        LLaVA-v1.6-8B, Single-Stage, Ours | 58.0 73.3 22.9 78.6 59.8 81.3 47.9 60.3
        Qwen2-VL-2B, Two-Stage, GPT-4V | 45.2 63.2 18.2 64.7 41.3 67.3 43.2 49.0
        Qwen2-VL-2B, Two-Stage, Ours | 60.8 76.9 21.4 75.0 55.0 82.7 44.7 59.5
        Qwen2-VL-2B, Single-Stage, GPT-4V | 51.4 66.1 18.9 61.4 45.1 73.2 45.1 51.6
        Qwen2-VL-2B, Single-Stage, Ours | 60.2 75.0 20.6 53.6 58.0 76.1 46.5 55.7
        Llama-3.2-11B, Two-Stage, GPT-4V | 49.1 74.3 19.3 70.9 46.2 73.9 47.1 54.4
        Llama-3.2-11B, Two-Stage, Ours | 58.5 76.4 27.0 73.2 58.3 77.6 51.3 60.3
        Llama-3.2-11B, Single-Stage, GPT-4V | 47.1 72.6 19.5 70.7 45.9 73.9 46.5 53.7
        Llama-3.2-11B, Single-Stage, Ours | 59.5 76.4 24.3 84.9 57.4 79.8 51.9 62.0
    """,
}
