"""How do pictures with captions become a new word, or a LoRA?"""
